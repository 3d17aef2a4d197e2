#include "harpoon/worker/work.h"
#include "lib/macros.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A message that is as it should be, to be spoilt. */
struct sample {
    Harpoon__Event__V1__Event event;
    Harpoon__Event__V1__Params params;
    Harpoon__Job__V1__DropletSpec spec;
    uint64_t excluded[40];
};

static char region[] = "nyc3", uuid[] = "2b1c64f0-1f0a-5b5e-9a57-0d0e6f0a9d11",
            journal[] = "0f8fad5b-d9cb-469f-a165-70867728950e", name[] = "web1";

static struct sample *make_sample(void)
{
    static struct sample s;

    s.event = (Harpoon__Event__V1__Event)HARPOON__EVENT__V1__EVENT__INIT;
    s.params = (Harpoon__Event__V1__Params)HARPOON__EVENT__V1__PARAMS__INIT;
    s.spec = (Harpoon__Job__V1__DropletSpec)HARPOON__JOB__V1__DROPLET_SPEC__INIT;
    s.spec.name = name;
    s.params.spec = &s.spec;
    s.params.droplet_uuid = uuid;
    s.event.version = 1;
    s.event.event_id = 100;
    s.event.droplet_id = 50;
    s.event.account_id = 1;
    s.event.type = EVENT_CREATE;
    s.event.region = region;
    s.event.state = EVENT_PENDING;
    s.event.attempt = 2;
    s.event.created_unix_ms = 1000;
    s.event.deadline_unix_ms = 2000;
    s.event.published_unix_ms = 1500;
    s.event.params = &s.params;
    s.event.n_excluded_hypervisor_ids = 2;
    s.event.excluded_hypervisor_ids = s.excluded;
    s.excluded[0] = 7;
    s.excluded[1] = 8;
    return &s;
}

static int decode(const struct sample *s, struct work **ret, event_id *ret_event, struct error *err)
{
    size_t size = harpoon__event__v1__event__get_packed_size(&s->event);
    uint8_t *bytes = malloc(size);

    assert_non_null(bytes);
    harpoon__event__v1__event__pack(&s->event, bytes);
    int r = work_decode(bytes, size, region, ret, ret_event, err);
    free(bytes);
    return r;
}

static void assert_refused(const struct sample *s, const char *says)
{
    struct work *w;
    struct error err;
    event_id event;

    assert_int_equal(decode(s, &w, &event, &err), ERR_INVALID);
    assert_int_equal(event.v, s->event.event_id);
    if (strstr(err.message, says) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.message, says);
}

static void a_message_becomes_the_row_it_tells_of(void **unused)
{
    UNUSED(unused);
    struct sample *s = make_sample();
    struct work *w;
    struct error err;
    event_id event;
    s->event.journal_id = journal;
    s->event.state = EVENT_DISPATCHED;
    s->event.hypervisor_id = 9;
    assert_int_equal(decode(s, &w, &event, &err), 0);
    assert_int_equal(event.v, 100);
    assert_int_equal(w->row.id.v, 100);
    assert_int_equal(w->row.droplet.v, 50);
    assert_int_equal(w->row.type, EVENT_CREATE);
    assert_int_equal(w->row.state, EVENT_DISPATCHED);
    assert_int_equal(w->row.attempt, 2);
    assert_int_equal(w->row.hypervisor.v, 9);
    assert_int_equal(w->target.v, 9);
    assert_string_equal(w->row.region, "nyc3");
    assert_int_equal(w->row.deadline_ms, 2000);
    assert_int_equal(w->row.excluded_count, 2);
    assert_int_equal(w->row.excluded[1], 8);
    assert_int_equal(w->row.journal.b[0], 0x0f);
    assert_int_equal(w->published_ms, 1500);
    assert_string_equal(w->message->params->spec->name, "web1");
    work_free(w);
}

static void more_exclusions_than_a_row_holds_are_cut(void **unused)
{
    UNUSED(unused);
    struct sample *s = make_sample();
    struct work *w;
    struct error err;
    event_id event;
    s->event.n_excluded_hypervisor_ids = 40;
    assert_int_equal(decode(s, &w, &event, &err), 0);
    assert_int_equal(w->row.excluded_count, EVENT_EXCLUDED_MAX);
    work_free(w);
}

static void a_destroy_needs_no_spec_but_a_hypervisor(void **unused)
{
    UNUSED(unused);
    struct sample *s = make_sample();
    struct work *w;
    struct error err;
    event_id event;
    s->event.type = EVENT_DESTROY;
    s->params.spec = NULL;
    assert_refused(s, "without the hypervisor");
    s->event.hypervisor_id = 9;
    assert_int_equal(decode(s, &w, &event, &err), 0);
    work_free(w);
}

static void what_is_not_right_is_refused_with_the_event_it_is_about(void **unused)
{
    UNUSED(unused);
    static char other_region[] = "ams3", no_uuid[] = "", nonsense[] = "nonsense";
    struct sample *s = make_sample();
    s->event.version = 2;
    assert_refused(s, "version 2");
    s = make_sample();
    s->event.droplet_id = 0;
    assert_refused(s, "a droplet");
    s = make_sample();
    s->event.type = 99;
    assert_refused(s, "type 99");
    s = make_sample();
    s->event.state = EVENT_SUCCEEDED;
    assert_refused(s, "state 4");
    s = make_sample();
    s->event.attempt = 0;
    assert_refused(s, "attempt 0");
    s->event.attempt = 65536;
    assert_refused(s, "attempt 65536");
    s = make_sample();
    s->event.region = other_region;
    assert_refused(s, "another region");
    s = make_sample();
    s->event.params = NULL;
    assert_refused(s, "without params");
    s = make_sample();
    s->params.droplet_uuid = no_uuid;
    assert_refused(s, "without params");
    s = make_sample();
    s->params.spec = NULL;
    assert_refused(s, "spec");
    s = make_sample();
    s->event.journal_id = nonsense;
    assert_refused(s, "");
}

static void bytes_that_are_no_message_are_refused(void **unused)
{
    UNUSED(unused);
    static const uint8_t bytes[] = {0xff, 0xff, 0xff, 0x01, 0x02};
    struct work *w;
    struct error err;
    event_id event = {1};
    assert_int_equal(work_decode(bytes, sizeof bytes, region, &w, &event, &err), ERR_INVALID);
    assert_int_equal(event.v, 0);
    assert_int_equal(work_decode("", 0, region, &w, &event, &err), ERR_INVALID);
    assert_int_equal(event.v, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_becomes_the_row_it_tells_of),
        cmocka_unit_test(more_exclusions_than_a_row_holds_are_cut),
        cmocka_unit_test(a_destroy_needs_no_spec_but_a_hypervisor),
        cmocka_unit_test(what_is_not_right_is_refused_with_the_event_it_is_about),
        cmocka_unit_test(bytes_that_are_no_message_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
