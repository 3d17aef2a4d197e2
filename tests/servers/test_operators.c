/* What operators see and do: harpoonctl as people run it, the Admin service and a real MariaDB. */
#include "harpoon/event.h"
#include "lib/macros.h"
#include "proto/event.pb-c.h"
#include "tests/servers/operators_fixture.h"
#include "tests/servers/servers.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("\"%s\" is not in: %s", part, text);
}

/* Runs and looks for some words in what it prints. */
#define CTL_SAYS(code, part, ...)                                                                  \
    do {                                                                                           \
        char *said = ctl((code), __VA_ARGS__);                                                     \
        has(said, (part));                                                                         \
        free(said);                                                                                \
    } while (0)

static int64_t state_of(uint64_t event)
{
    return number("SELECT state FROM events WHERE id = ?", event);
}

/* ---- who may ask, and what is said when nobody answers ---- */
static void only_an_operator_may_ask(void **state)
{
    UNUSED(state);
    char *said = ctl_with(ctl_as_scheduler, 5, "events list");
    has(said, "harpoonctl: ");
    free(said);
}

static void nobody_there_and_nobody_answering_are_told_apart(void **state)
{
    UNUSED(state);
    char *said = ctl_with(ctl_to_nobody, 7, "queues");
    has(said, "127.0.0.1:1");
    free(said);
    said = ctl_with(ctl_to_silence, 124, "queues --timeout-s 1");
    has(said, "127.0.0.1:");
    free(said);
}

static bool lists_hypervisors(void *ctx)
{
    UNUSED(ctx);
    return ctl_code("hypervisors list --region nyc3") == 0;
}

static void a_scheduler_that_is_away_is_unavailable(void **state)
{
    UNUSED(state);
    scheduler_stop();
    CTL_SAYS(7, "harpoonctl: ", "hypervisors list --region nyc3");
    scheduler_start();
    wait_until(lists_hypervisors, NULL, "the scheduler is asked again");
}

static void what_is_not_understood_is_told_before_anything_is_done(void **state)
{
    static const struct {
        const char *words, *part;
    } cases[] = {
        {"", "Nouns:"},
        {"event list", "there are events"},
        {"events", "list, show or cancel"},
        {"events lost", "has no verb 'lost'"},
        {"events list --state done", "one of pending, dispatched"},
        {"events list extra", "usage: harpoonctl events list"},
        {"events show", "usage: harpoonctl events show ID"},
        {"events show 12x", "\"12x\" is no number of an event"},
        {"events show 0", "is no number"},
        {"events show 99999999999999999999", "is no number"},
        {"events cancel 1", "--reason is required"},
        {"dead replay --reason x", "usage: harpoonctl dead replay ID..."},
        {"hypervisors approve --region nyc3", "either numbers of hypervisors, or --all-new"},
        {"hypervisors approve 7 --all-new --region nyc3", "either numbers"},
        {"hypervisors fence 7 --region nyc3 --reason x", "--yes-powered-off"},
        {"events list --outptu json", "the nearest is --output"},
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        CTL_SAYS(2, cases[i].part, "%s", cases[i].words);
    assert_string_equal(scheduler_story(), "");
}

static void help_is_given_at_every_level(void **state)
{
    UNUSED(state);
    CTL_SAYS(0, "HARPOON_CTL_CONFIG", "--help");
    CTL_SAYS(0, "Verbs:\n  list", "events --help");
    CTL_SAYS(0, "replay ID...", "help dead");
    CTL_SAYS(0, "Examples:\n  harpoonctl hypervisors fence 1007", "hypervisors fence --help");
    CTL_SAYS(0, "harpoonctl 0.", "--version");
}

/* ---- events ---- */
static void unfinished_events_are_listed_newest_first(void **state)
{
    struct created a = create_droplet(), b = create_droplet(), c = create_living(7);

    UNUSED(state);
    bring(b.event, IN_DELIVERED, 7);
    json_t *o = ctl_json(0, "events list");
    assert_int_equal(json_array_size(at(o, "events")), 2);
    assert_int_equal(number_at(o, "events.0.id"), b.event);
    assert_string_equal(text_at(o, "events.0.state"), "dispatched");
    assert_int_equal(number_at(o, "events.0.hypervisor_id"), 7);
    assert_int_equal(strlen(text_at(o, "events.0.journal_id")), 36);
    assert_int_equal(number_at(o, "events.1.id"), a.event);
    assert_int_equal(number_at(o, "events.1.droplet_id"), a.droplet);
    assert_string_equal(text_at(o, "events.1.type"), "create");
    assert_string_equal(text_at(o, "events.1.region"), "nyc3");
    assert_int_equal(strlen(text_at(o, "events.1.created_at")), strlen("2020-07-21T18:37:44.123Z"));
    static const char *const nulls[] = {"events.1.hypervisor_id", "events.1.journal_id",
                                        "events.1.reason",        "events.1.dispatched_at",
                                        "events.1.done_at",       "events.1.replay_of"};
    for (size_t i = 0; i < ARRAY_LEN(nulls); i++)
        assert_true(json_is_null(at(o, nulls[i])));
    json_decref(o);

    o = ctl_json(0, "events list --state all");
    assert_int_equal(json_array_size(at(o, "events")), 3);
    assert_int_equal(number_at(o, "events.0.id"), c.event);
    json_decref(o);
}

static size_t count_listed(const char *words)
{
    json_t *o = ctl_json(0, "%s", words);
    size_t n = json_array_size(at(o, "events"));

    json_decref(o);
    return n;
}

static void lists_are_narrowed_and_paged(void **state)
{
    struct created a = create_droplet(), b = create_droplet();
    char words[100];

    UNUSED(state);
    create_living(7);
    bring(b.event, IN_DELIVERED, 7);
    assert_int_equal(count_listed("events list --state pending"), 1);
    assert_int_equal(count_listed("events list --state succeeded"), 1);
    assert_int_equal(count_listed("events list --state failed"), 0);
    assert_int_equal(count_listed("events list --type create"), 2);
    assert_int_equal(count_listed("events list --type destroy"), 0);
    assert_int_equal(count_listed("events list --region nyc3"), 2);
    assert_int_equal(count_listed("events list --region ams3"), 0);
    assert_int_equal(count_listed("events list --state all --limit 2"), 2);
    (void)snprintf(words, sizeof words, "events list --before %" PRIu64, b.event);
    json_t *o = ctl_json(0, "%s", words);
    assert_int_equal(number_at(o, "events.0.id"), a.event);
    json_decref(o);
    CTL_SAYS(0, "There may be more: --before", "events list --limit 1");
}

static void a_table_is_aligned(void **state)
{
    UNUSED(state);
    create_droplet();
    bring(create_droplet().event, IN_DELIVERED, 1234567);
    char *text = ctl(0, "events list");
    char *lines[3], *rest = text;
    for (size_t i = 0; i < 3; i++)
        lines[i] = strsep(&rest, "\n");
    size_t region = (size_t)(strstr(lines[0], "REGION") - lines[0]);
    assert_int_equal(strstr(lines[1], "nyc3") - lines[1], region);
    assert_int_equal(strstr(lines[2], "nyc3") - lines[2], region);
    size_t end = (size_t)(strstr(lines[0], "HYPERVISOR") - lines[0]) + strlen("HYPERVISOR");
    assert_int_equal(lines[1][end - 1], '7'); /* numbers stand right */
    assert_int_equal(lines[2][end - 1], '-'); /* and nothing is a dash */
    free(text);
}

static void an_event_is_shown_with_its_timeline(void **state)
{
    struct created c = create_droplet();

    UNUSED(state);
    bring(c.event, IN_DELIVERED, 7);
    bring(c.event, IN_CLOSED, 7);
    bring_attempt(c.event, IN_DELIVERED, 8, 2);
    bring_attempt(c.event, IN_SUCCEEDED, 8, 2);
    json_t *o = ctl_json(0, "events show %" PRIu64, c.event);
    assert_int_equal(number_at(o, "event.id"), c.event);
    assert_int_equal(number_at(o, "event.attempt"), 2);
    assert_string_equal(text_at(o, "timeline.0.what"), "accepted");
    assert_string_equal(text_at(o, "timeline.0.actor"), "customer");
    assert_string_equal(text_at(o, "timeline.1.what"), "attempt closed");
    assert_string_equal(text_at(o, "timeline.1.detail"), "host_disk_full");
    assert_int_equal(number_at(o, "timeline.1.attempt"), 1);
    assert_int_equal(number_at(o, "timeline.1.hypervisor_id"), 7);
    assert_string_equal(text_at(o, "timeline.2.what"), "placed");
    assert_string_equal(text_at(o, "timeline.3.what"), "dispatched");
    assert_int_equal(number_at(o, "timeline.3.hypervisor_id"), 8);
    assert_string_equal(text_at(o, "timeline.4.what"), "succeeded");
    assert_int_equal(json_array_size(at(o, "timeline")), 5);
    json_decref(o);
    CTL_SAYS(0, "attempt closed", "events show %" PRIu64, c.event);
    CTL_SAYS(3, "there is no event 4711", "events show 4711");
}

static void only_a_pending_create_is_cancelled(void **state)
{
    struct created a = create_droplet(), b = create_droplet(), c = create_living(7);
    uint64_t destroy = delete_droplet(c.droplet);

    UNUSED(state);
    bring(b.event, IN_DELIVERED, 7);
    CTL_SAYS(0, "is cancelled", "events cancel %" PRIu64 " --reason 'by mistake'", a.event);
    assert_int_equal(state_of(a.event), EVENT_CANCELLED);
    CTL_SAYS(0, "is cancelled", "events cancel %" PRIu64 " --reason again", a.event);
    CTL_SAYS(0, "by mistake", "events show %" PRIu64, a.event);
    CTL_SAYS(4, "is dispatched", "events cancel %" PRIu64 " --reason x", b.event);
    CTL_SAYS(4, "is a destroy", "events cancel %" PRIu64 " --reason x", destroy);
    CTL_SAYS(3, "no event 4711", "events cancel 4711 --reason x");
    assert_int_equal(state_of(b.event), EVENT_DISPATCHED);
}

/* ---- queues ---- */
static void queues_are_counted_also_empty_ones(void **state)
{
    struct created late = create_droplet();

    UNUSED(state);
    create_droplet();
    bring(create_droplet().event, IN_DELIVERED, 7);
    delete_droplet(create_living(7).droplet);
    run("UPDATE events SET check_at = 5 WHERE id = ?", late.event);
    run("UPDATE events SET created_at = 1600000000000 WHERE id = ?", late.event);
    run("INSERT INTO queues VALUES ('events.nyc3.create', 1700000000000)", 0);
    json_t *o = ctl_json(0, "queues");
    assert_int_equal(json_array_size(at(o, "queues")), 4);
    assert_string_equal(text_at(o, "queues.0.name"), "events.ams3.create");
    assert_int_equal(number_at(o, "queues.0.pending"), 0);
    assert_true(json_is_null(at(o, "queues.0.oldest_at")));
    assert_string_equal(text_at(o, "queues.2.name"), "events.nyc3.create");
    assert_int_equal(number_at(o, "queues.2.pending"), 2);
    assert_int_equal(number_at(o, "queues.2.due"), 1);
    assert_int_equal(number_at(o, "queues.2.dispatched"), 1);
    assert_int_equal(number_at(o, "queues.2.running"), 0);
    assert_string_equal(text_at(o, "queues.2.oldest_at"), "2020-09-13T12:26:40.000Z");
    assert_string_equal(text_at(o, "queues.2.taken_at"), "2023-11-14T22:13:20.000Z");
    assert_string_equal(text_at(o, "queues.3.name"), "events.nyc3.action");
    assert_int_equal(number_at(o, "queues.3.pending"), 1);
    json_decref(o);
    CTL_SAYS(0, "events.nyc3.action", "queues list");
}

/* ---- hypervisors ---- */
static void hypervisors_of_all_regions_and_pages_are_listed(void **state)
{
    UNUSED(state);
    scheduler_add("nyc3", 1, 2100);
    scheduler_add("ams3", 5000, 3);
    json_t *o = ctl_json(0, "hypervisors list");
    assert_int_equal(json_array_size(at(o, "hypervisors")), 2103);
    assert_int_equal(number_at(o, "hypervisors.0.id"), 5000);
    assert_int_equal(number_at(o, "hypervisors.2102.id"), 2100);
    assert_string_equal(text_at(o, "hypervisors.0.status"), "new");
    assert_string_equal(text_at(o, "hypervisors.0.not_placeable_because"), "not approved yet");
    assert_int_equal(number_at(o, "hypervisors.0.capacity.vcpus"), 64);
    json_decref(o);
    o = ctl_json(0, "hypervisors list --region ams3");
    assert_int_equal(json_array_size(at(o, "hypervisors")), 3);
    json_decref(o);
    CTL_SAYS(0, "0/262144", "hypervisors list --region ams3");
}

static void new_hypervisors_are_approved(void **state)
{
    UNUSED(state);
    scheduler_add("nyc3", 1, 5);
    json_t *o = ctl_json(0, "hypervisors approve 1 2 --region nyc3");
    assert_int_equal(json_array_size(at(o, "changed_ids")), 2);
    json_decref(o);
    CTL_SAYS(0, "3 approved: 3, 4, 5", "hypervisors approve --all-new --region nyc3");
    CTL_SAYS(0, "0 approved", "hypervisors approve --all-new --region nyc3");
    CTL_SAYS(3, "hypervisor 77 is not known", "hypervisors approve 77 --region nyc3");
    o = ctl_json(0, "hypervisors list --region nyc3");
    assert_true(json_is_null(at(o, "hypervisors.4.not_placeable_because")));
    json_decref(o);
}

/* ---- fences ---- */
#define FENCE   "hypervisors fence 7 --region nyc3 --yes-powered-off --reason 'it burns'"
#define UNFENCE "hypervisors unfence 7 --region nyc3 --reason 'new power supply'"

static void a_fence_moves_creates_on_and_ends_destroys_after_their_release(void **state)
{
    struct created waiting = create_droplet(), handed = create_droplet(), going = create_droplet(),
                   elsewhere = create_droplet(), living = create_living(7),
                   deleted = create_living(7);
    uint64_t destroy = delete_droplet(deleted.droplet);
    char expected[200];

    UNUSED(state);
    scheduler_add("nyc3", 7, 2);
    bring(handed.event, IN_DELIVERED, 7);
    bring(going.event, IN_DELIVERED, 7);
    bring(going.event, IN_RUNNING, 7);
    bring(elsewhere.event, IN_DELIVERED, 8);
    json_t *o = ctl_json(0, FENCE);
    assert_string_equal(text_at(o, "hypervisor.state"), "fenced");
    assert_int_equal(number_at(o, "hypervisor.events_moved"), 3);
    json_decref(o);
    /* first no placements, and the claims before the end */
    (void)snprintf(expected, sizeof expected,
                   "status fenced 7; release droplet %" PRIu64 " while pending; ", deleted.droplet);
    assert_string_equal(scheduler_story(), expected);
    assert_int_equal(state_of(waiting.event), EVENT_PENDING);
    assert_int_equal(state_of(handed.event), EVENT_PENDING);
    assert_int_equal(number("SELECT attempt FROM events WHERE id = ?", handed.event), 2);
    assert_int_equal(number("SELECT attempt FROM events WHERE id = ?", going.event), 2);
    assert_int_equal(state_of(elsewhere.event), EVENT_DISPATCHED);
    assert_int_equal(state_of(living.event), EVENT_SUCCEEDED);
    assert_int_equal(state_of(destroy), EVENT_SUCCEEDED);
    assert_true(number("SELECT gone_at FROM droplets WHERE id = ?", deleted.droplet) > 0);
    CTL_SAYS(0, "it burns", "events show %" PRIu64, handed.event);

    CTL_SAYS(0, "is fenced; 0 events moved on", FENCE);
}

static void the_last_attempt_is_released_before_a_fence_ends_it(void **state)
{
    struct created c = create_droplet();
    unsigned most = event_policy_get(EVENT_CREATE)->max_attempts;
    char expected[200];

    UNUSED(state);
    scheduler_add("nyc3", 7, 1);
    for (unsigned attempt = 1; attempt < most; attempt++) {
        bring_attempt(c.event, IN_DELIVERED, 20 + attempt, attempt);
        bring_attempt(c.event, IN_CLOSED, 20 + attempt, attempt);
    }
    bring_attempt(c.event, IN_DELIVERED, 7, most);
    CTL_SAYS(0, "1 events moved on", FENCE);
    (void)snprintf(expected, sizeof expected, "release %" PRIu64 "/%u while dispatched; ", c.event,
                   most);
    has(scheduler_story(), expected);
    assert_int_equal(state_of(c.event), EVENT_FAILED);
}

static void a_fence_of_thousands_of_events_takes_them_all(void **state)
{
    enum { MANY = 1203 };

    UNUSED(state);
    scheduler_add("nyc3", 7, 1);
    run("INSERT INTO droplets (id, account_id, name, region, size, image_id, vcpus, memory_mib,"
        " disk_gib, status, event_id, created_at, body) SELECT 900000 + seq, 1, 'many', 'nyc3',"
        " 's', 1, 1, 512, 10, 1, 900000 + seq, 1, '{}' FROM seq_1_to_1203",
        0);
    run("INSERT INTO events (id, droplet_id, account_id, type, region, state, attempt,"
        " hypervisor_id, check_at, deadline, created_at, params) SELECT 900000 + seq, 900000 + seq,"
        " 1, 1, 'nyc3', 2, 1, 7, 4000000000000, 4000000000000, 1, '' FROM seq_1_to_1203",
        0);
    json_t *o = ctl_json(0, FENCE);
    assert_int_equal(number_at(o, "hypervisor.events_moved"), MANY);
    json_decref(o);
    assert_int_equal(number("SELECT COUNT(*) FROM events WHERE state = 1 AND attempt = 2", 0),
                     MANY);
}

static void a_fence_of_nobody_changes_nothing(void **state)
{
    UNUSED(state);
    CTL_SAYS(3, "region nyc3 has no hypervisor 7", FENCE);
    assert_int_equal(number("SELECT COUNT(*) FROM fences", 0), 0);
}

static void a_fenced_hypervisor_comes_back_only_when_nothing_is_left(void **state)
{
    UNUSED(state);
    scheduler_add("nyc3", 7, 1);
    CTL_SAYS(3, "is not fenced", UNFENCE);
    free(ctl(0, FENCE));
    CTL_SAYS(4, "is fenced: unfence it", "hypervisors approve 7 --region nyc3");
    CTL_SAYS(4, "has not attached since", UNFENCE);
    run("UPDATE fences SET jobs_open = 2, domains = 1 WHERE hypervisor_id = ?", 7);
    CTL_SAYS(4, "2 open jobs and 1 domains", UNFENCE);
    run("UPDATE fences SET jobs_open = 0, domains = 1 WHERE hypervisor_id = ?", 7);
    CTL_SAYS(4, "0 open jobs and 1 domains", UNFENCE);
    assert_string_equal(scheduler_story(), "status fenced 7; ");
    run("UPDATE fences SET jobs_open = 0, domains = 0 WHERE hypervisor_id = ?", 7);
    CTL_SAYS(0, "Hypervisor 7 is up", UNFENCE);
    assert_string_equal(scheduler_story(), "status fenced 7; status up 7; ");
    assert_int_equal(number("SELECT COUNT(*) FROM fences", 0), 0);
    CTL_SAYS(3, "is not fenced", UNFENCE);
}

static void an_unfence_that_broke_off_is_ended_by_asking_again(void **state)
{
    UNUSED(state);
    scheduler_add("nyc3", 7, 1);
    free(ctl(0, FENCE));
    run("DELETE FROM fences", 0); /* its first step was done, its second not */
    CTL_SAYS(0, "Hypervisor 7 is up", UNFENCE);
}

/* ---- the dead list ---- */
static int on_params(void *ctx, const struct sql_row *row, struct error *err)
{
    size_t size;
    const void *bytes = sql_row_bytes(row, 0, &size);

    UNUSED(err);
    *(Harpoon__Event__V1__Params **)ctx = harpoon__event__v1__params__unpack(NULL, size, bytes);
    return 0;
}

static Harpoon__Event__V1__Params *params_of(uint64_t event)
{
    Harpoon__Event__V1__Params *params = NULL;
    struct error err;

    assert_int_equal(sql_query(db, "SELECT params FROM events WHERE id = ?", &SQL_U(event), 1,
                               on_params, &params, &err),
                     1);
    assert_non_null(params);
    return params;
}

static void free_params(Harpoon__Event__V1__Params *params)
{
    harpoon__event__v1__params__free_unpacked(params, NULL);
}

static uint64_t replay(uint64_t event)
{
    json_t *o = ctl_json(0, "dead replay %" PRIu64 " --reason 'rack is back'", event);
    uint64_t id = (uint64_t)number_at(o, "results.0.new_event_id");

    assert_true(json_is_null(at(o, "results.0.refused_because")));
    json_decref(o);
    return id;
}

static void a_failed_create_is_replayed_as_a_new_event(void **state)
{
    struct created c = create_failed();

    UNUSED(state);
    assert_int_equal(count_listed("dead list"), 1);
    CTL_SAYS(0, "would be replayed", "dead replay %" PRIu64 " --reason x --dry-run", c.event);
    assert_int_equal(number("SELECT COUNT(*) FROM events", 0), 1);
    uint64_t again = replay(c.event);
    assert_int_equal(state_of(again), EVENT_PENDING);
    assert_int_equal(number("SELECT replay_of FROM events WHERE id = ?", again), c.event);
    assert_int_equal(number("SELECT replayed_as FROM events WHERE id = ?", c.event), again);
    assert_int_equal(number("SELECT event_id FROM droplets WHERE id = ?", c.droplet), again);
    assert_int_equal(number("SELECT status FROM droplets WHERE id = ?", c.droplet), DROPLET_NEW);
    assert_int_equal(number("SELECT gone_at FROM droplets WHERE id = ?", c.droplet), -1);
    assert_int_equal(number("SELECT deadline - created_at FROM events WHERE id = ?", again),
                     900000);
    assert_int_equal(state_of(c.event), EVENT_FAILED);
    assert_int_equal(count_listed("dead list"), 0);
    CTL_SAYS(0, "rack is back", "events show %" PRIu64, again);
    bring(again, IN_DELIVERED, 7);
    bring(again, IN_SUCCEEDED, 7);
    assert_int_equal(number("SELECT status FROM droplets WHERE id = ?", c.droplet), DROPLET_ACTIVE);
}

static void a_replay_has_addresses_of_its_own_and_otherwise_the_same_spec(void **state)
{
    struct created c = create_failed();
    uint64_t again = replay(c.event);
    Harpoon__Event__V1__Params *old = params_of(c.event), *new = params_of(again);
    char text[16];

    UNUSED(state);
    assert_string_equal(new->spec->name, old->spec->name);
    assert_string_equal(new->spec->image->sha256, old->spec->image->sha256);
    assert_string_equal(new->droplet_uuid, old->droplet_uuid);
    assert_int_equal(new->spec->n_addresses, 2);
    for (size_t i = 0; i < 2; i++)
        assert_string_not_equal(new->spec->addresses[i]->address, old->spec->addresses[i]->address);
    uint32_t ip = (uint32_t)number("SELECT ipv4 FROM droplets WHERE id = ?", c.droplet);
    assert_string_equal(new->spec->addresses[0]->address, address_format(ip, text));
    assert_string_equal(new->spec->addresses[0]->gateway,
                        address_format(address_gateway(ip), text));
    ip = (uint32_t)number("SELECT private_ipv4 FROM droplets WHERE id = ?", c.droplet);
    assert_string_equal(new->spec->addresses[1]->address, address_format(ip, text));
    assert_string_equal(new->spec->addresses[1]->gateway, "");
    free_params(old);
    free_params(new);
}

static void a_second_replay_has_no_second_effect(void **state)
{
    struct created c = create_failed();

    UNUSED(state);
    uint64_t first = replay(c.event);
    assert_int_equal(replay(c.event), first);
    assert_int_equal(number("SELECT COUNT(*) FROM events", 0), 2);
}

static void a_replay_avoids_where_the_droplet_was_cleaned_up(void **state)
{
    struct created c = create_droplet();

    UNUSED(state);
    bring(c.event, IN_DELIVERED, 7);
    run("UPDATE events SET deadline = 5 WHERE id = ?", c.event);
    bring(c.event, IN_DEADLINE, 0);
    uint64_t cleanup = (uint64_t)number("SELECT event_id FROM droplets WHERE id = ?", c.droplet);
    CTL_SAYS(4, "is not finished", "dead replay %" PRIu64 " --reason x", c.event);
    bring(cleanup, IN_DELIVERED, 7);
    bring(cleanup, IN_SUCCEEDED, 7);
    uint64_t again = replay(c.event);
    assert_int_equal(number("SELECT CONV(HEX(excluded), 16, 10) FROM events WHERE id = ?", again),
                     7);
}

static void what_cannot_be_replayed_is_refused_and_the_rest_goes_on(void **state)
{
    struct created failed = create_failed(), deleted = create_failed(), living = create_living(7),
                   waiting = create_droplet();
    uint64_t destroy;

    UNUSED(state);
    delete_droplet(deleted.droplet);
    destroy = delete_droplet(living.droplet);
    json_t *o =
        ctl_json(4, "dead replay %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " 4711 --reason x",
                 deleted.event, destroy, waiting.event, failed.event);
    assert_string_equal(text_at(o, "results.0.refused_because"), "its Droplet was deleted");
    has(text_at(o, "results.1.refused_because"), "it is a destroy");
    assert_string_equal(text_at(o, "results.2.refused_because"), "it is pending, not failed");
    assert_true(number_at(o, "results.3.new_event_id") > 0);
    assert_string_equal(text_at(o, "results.4.refused_because"), "there is no such event");
    json_decref(o);
    assert_int_equal(count_listed("dead list"), 0); /* the deleted one needs nobody */
}

/* ---- explain ---- */
static void a_droplet_is_explained_with_what_helps(void **state)
{
    struct created c = create_droplet();

    UNUSED(state);
    bring(c.event, IN_NO_ROOM, 0);
    json_t *o = ctl_json(0, "droplet explain %" PRIu64, c.droplet);
    assert_string_equal(text_at(o, "droplet.status"), "new");
    assert_string_equal(text_at(o, "droplet.waiting_for"), "capacity");
    has(text_at(o, "droplet.sentence"), "with room; an operator must");
    assert_string_equal(text_at(o, "droplet.command"), "harpoonctl hypervisors list --region nyc3");
    assert_int_equal(json_array_size(at(o, "events")), 1);
    json_decref(o);
    bring(c.event, IN_DELIVERED, 7);
    bring(c.event, IN_SUCCEEDED, 7);
    delete_droplet(c.droplet);
    char *text = ctl(0, "droplet explain %" PRIu64, c.droplet);
    static const char *const words[] = {"accepted", "no room", "dispatched", "succeeded",
                                        "destroy"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        has(text, words[i]);
    free(text);
    CTL_SAYS(3, "there is no Droplet 4711", "droplet explain 4711");
}

static void a_droplet_on_a_fenced_hypervisor_says_so(void **state)
{
    struct created c = create_living(7);

    UNUSED(state);
    scheduler_add("nyc3", 7, 1);
    CTL_SAYS(0, "it is active on hypervisor 7", "droplet explain %" PRIu64, c.droplet);
    free(ctl(0, FENCE));
    CTL_SAYS(0, "which is fenced", "droplet explain %" PRIu64, c.droplet);
}

static int setup(void **state)
{
    UNUSED(state);
    operators_reset();
    return 0;
}

static int begin(void **state)
{
    UNUSED(state);
    operators_begin();
    return 0;
}

static int end(void **state)
{
    UNUSED(state);
    operators_end();
    return 0;
}

#define TEST(f) cmocka_unit_test_setup(f, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(only_an_operator_may_ask),
        TEST(nobody_there_and_nobody_answering_are_told_apart),
        TEST(a_scheduler_that_is_away_is_unavailable),
        TEST(what_is_not_understood_is_told_before_anything_is_done),
        TEST(help_is_given_at_every_level),
        TEST(unfinished_events_are_listed_newest_first),
        TEST(lists_are_narrowed_and_paged),
        TEST(a_table_is_aligned),
        TEST(an_event_is_shown_with_its_timeline),
        TEST(only_a_pending_create_is_cancelled),
        TEST(queues_are_counted_also_empty_ones),
        TEST(hypervisors_of_all_regions_and_pages_are_listed),
        TEST(new_hypervisors_are_approved),
        TEST(a_fence_moves_creates_on_and_ends_destroys_after_their_release),
        TEST(the_last_attempt_is_released_before_a_fence_ends_it),
        TEST(a_fence_of_thousands_of_events_takes_them_all),
        TEST(a_fence_of_nobody_changes_nothing),
        TEST(a_fenced_hypervisor_comes_back_only_when_nothing_is_left),
        TEST(an_unfence_that_broke_off_is_ended_by_asking_again),
        TEST(a_failed_create_is_replayed_as_a_new_event),
        TEST(a_replay_has_addresses_of_its_own_and_otherwise_the_same_spec),
        TEST(a_second_replay_has_no_second_effect),
        TEST(a_replay_avoids_where_the_droplet_was_cleaned_up),
        TEST(what_cannot_be_replayed_is_refused_and_the_rest_goes_on),
        TEST(a_droplet_is_explained_with_what_helps),
        TEST(a_droplet_on_a_fenced_hypervisor_says_so),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
