/* Accepting creates, and what customers read of them, against a real MariaDB. */
#include "harpoon/event.h"
#include "harpoon/store/accept.h"
#include "harpoon/store/actions.h"
#include "harpoon/store/droplets.h"
#include "harpoon/store/events.h"
#include "harpoon/store/keys.h"
#include "harpoon/store/seed.h"
#include "harpoon/store/tags.h"
#include "harpoon/store/tokens.h"
#include "lib/clock.h"
#include "lib/sql/sql.h"
#include "tests/servers/servers.h"

#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct sql *db;
static struct catalog *catalog;
static struct accept_env env;
static const account_id unlimited = {1};

/* ---- helpers ---- */
static struct sql *connect_database(void)
{
    struct error err;
    struct sql *ret = sql_new(&(struct sql_options){
        .socket = server_setting("HARPOON_TEST_SOCKET"),
        .user = "tester",
        .password = server_setting("HARPOON_TEST_PASSWORD"),
        .database = "test",
    });

    assert_non_null(ret);
    if (sql_connect(ret, &err) < 0)
        fail_msg("%s", err.message);
    return ret;
}

static void run(const char *statement)
{
    struct error err;

    if (sql_exec(db, statement, NULL, 0, &err) < 0)
        fail_msg("%s: %s", statement, err.message);
}

static int on_number(void *ctx, const struct sql_row *row, struct error *err)
{
    UNUSED(err);
    *(int64_t *)ctx = sql_row_is_null(row, 0) ? -1 : sql_row_i64(row, 0);
    return 0;
}

static int64_t number(const char *statement)
{
    struct error err;
    int64_t ret = -2;

    if (sql_query(db, statement, NULL, 0, on_number, &ret, &err) < 0)
        fail_msg("%s: %s", statement, err.message);
    return ret;
}

static int make_schema(void)
{
    struct error err;
    char folder[4096];

    (void)snprintf(folder, sizeof folder, "%s/harpoon/schema", getenv("HARPOON_TEST_SOURCE"));
    if (sql_migrate(db, folder, NULL, &err) < 0 || seed_installation(db, &err) < 0 ||
        seed_catalog(db, "nyc3,ams3", &err) < 0 || catalog_load(db, &catalog, &err) < 0)
        fail_msg("%s", err.message);
    return 0;
}

static void make_env(void)
{
    struct error err;

    env.installation = catalog->installation;
    env.create_deadline_ms = 900000;
    if (ids_new("droplet", 100, &env.droplet_ids, &err) < 0 ||
        ids_new("event", 100, &env.event_ids, &err) < 0 ||
        addresses_new(64, &env.addresses, &err) < 0)
        fail_msg("%s", err.message);
}

static int setup_group(void **state)
{
    UNUSED(state);
    sql_library_init();
    db = connect_database();
    make_schema();
    make_env();
    return 0;
}

static int teardown_group(void **state)
{
    UNUSED(state);
    ids_free(env.droplet_ids);
    ids_free(env.event_ids);
    addresses_free(env.addresses);
    catalog_unref(catalog);
    sql_free(db);
    return 0;
}

static int setup(void **state)
{
    UNUSED(state);
    run("DELETE FROM droplets");
    run("DELETE FROM droplet_tags");
    run("DELETE FROM tags");
    run("DELETE FROM events");
    run("DELETE FROM ssh_keys");
    run("DELETE FROM accounts WHERE id <> 1");
    run("UPDATE accounts SET droplets = 0");
    return 0;
}

static account_id account_with_limit(uint32_t limit)
{
    struct account a = {.droplet_limit = limit, .name = "limited"};
    struct error err;
    static int made;

    (void)snprintf(a.email, sizeof a.email, "limited%d@example.com", ++made);
    if (accounts_create(db, &a, &err) < 0)
        fail_msg("%s", err.message);
    return a.id;
}

static struct accept_request create_of(account_id account, size_t count)
{
    static const char *const names[ACCEPT_NAMES_MAX] = {"a", "b", "c", "d", "e",
                                                        "f", "g", "h", "i", "j"};
    struct accept_request r = {
        .account = account,
        .limited = account.v != unlimited.v,
        .region = catalog_find_region(catalog, "nyc3"),
        .size = catalog_find_size(catalog, "s-1vcpu-1gb"),
        .image = catalog_find_image_slug(catalog, account, "debian-12-x64"),
        .body = "{\"features\":[]}",
        .trace_id = "t",
        .count = count,
    };

    for (size_t i = 0; i < count; i++)
        r.droplets[i].name = names[i];
    return r;
}

static void accept(struct accept_request *requests, size_t count)
{
    struct accept_request **list = calloc(count, sizeof *list);

    for (size_t i = 0; i < count; i++)
        list[i] = &requests[i];
    accept_creates(db, &env, list, count);
    for (size_t i = 0; i < count; i++)
        accept_request_clear(list[i]);
    free(list);
}

/* ---- accepting ---- */
static void accepted_create_is_a_droplet_its_tags_and_a_pending_event(void **state)
{
    const char *tags[] = {"web", "x:1"};
    struct accept_request r = create_of(unlimited, 2);

    UNUSED(state);
    r.tags = tags;
    r.tag_count = 2;
    accept(&r, 1);
    assert_int_equal(r.result, 0);
    assert_int_equal(number("SELECT COUNT(*) FROM droplets d JOIN events e ON e.id = d.event_id"
                            " AND e.droplet_id = d.id WHERE d.status = 1 AND e.state = 1"
                            " AND e.type = 1 AND e.attempt = 1 AND e.account_id = d.account_id"),
                     2);
    assert_int_equal(number("SELECT COUNT(*) FROM droplet_tags"), 4);
    assert_int_equal(number("SELECT droplets FROM accounts WHERE id = 1"), 2);
    assert_int_equal(number("SELECT deadline - created_at FROM events LIMIT 1"), 900000);
    assert_int_equal(number("SELECT check_at - created_at FROM events LIMIT 1"),
                     event_policy_get(EVENT_CREATE)->pending_margin_ms);
    assert_true(number("SELECT LENGTH(params) FROM events LIMIT 1") > 100);
}

static void request_beyond_the_limit_is_refused_and_the_others_are_not(void **state)
{
    account_id small = account_with_limit(3), large = account_with_limit(100);
    struct accept_request r[] = {create_of(small, 2), create_of(large, 10),
                                 create_of(small, 2), create_of(unlimited, 1),
                                 create_of(small, 1), create_of(small, 1)};

    UNUSED(state);
    accept(r, ARRAY_LEN(r));
    assert_int_equal(r[0].result, 0);
    assert_int_equal(r[1].result, 0);
    assert_int_equal(r[2].result, ERR_NO_CAPACITY);
    assert_non_null(strstr(r[2].err.message, "droplet limit"));
    assert_int_equal(r[3].result, 0);
    assert_int_equal(r[4].result, 0); /* the one that still fits */
    assert_int_equal(r[5].result, ERR_NO_CAPACITY);
    assert_int_equal(number("SELECT COUNT(*) FROM droplets"), 14);
    assert_int_equal(number("SELECT SUM(droplets) FROM accounts"), 14);
}

static void limit_that_the_api_did_not_know_yet_holds(void **state)
{
    account_id a = account_with_limit(1);
    struct accept_request r[] = {create_of(a, 1), create_of(a, 1), create_of(unlimited, 1)};

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(r); i++)
        r[i].limited = false;
    accept(r, ARRAY_LEN(r));
    assert_int_equal(r[0].result, 0);
    assert_int_equal(r[1].result, ERR_NO_CAPACITY);
    assert_int_equal(r[2].result, 0);
    assert_int_equal(number("SELECT COUNT(*) FROM droplets"), 2);
}

static void account_that_is_gone_has_its_request_refused(void **state)
{
    struct accept_request r[] = {create_of((account_id){987654}, 1), create_of(unlimited, 1)};

    UNUSED(state);
    accept(r, ARRAY_LEN(r));
    assert_int_equal(r[0].result, ERR_INVALID);
    assert_int_equal(r[1].result, 0);
}

static void no_address_is_handed_out_twice(void **state)
{
    enum { REQUESTS = 60 };
    struct accept_request *r = calloc(REQUESTS, sizeof *r);

    UNUSED(state);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < REQUESTS; i++)
            r[i] = create_of(unlimited, 10);
        accept(r, REQUESTS);
        for (size_t i = 0; i < REQUESTS; i++)
            assert_int_equal(r[i].result, 0);
    }
    free(r);
    assert_int_equal(number("SELECT COUNT(DISTINCT ipv4) FROM droplets"), 1800);
    assert_int_equal(number("SELECT COUNT(DISTINCT private_ipv4) FROM droplets"), 1800);
    assert_int_equal(number("SELECT COUNT(*) FROM droplets WHERE ipv4 & 4095 IN (0, 1, 4095)"), 0);
}

static void address_of_a_refused_request_goes_to_the_next_one(void **state)
{
    account_id a = account_with_limit(1);
    struct accept_request first = create_of(a, 1), refused = create_of(a, 1),
                          last = create_of(unlimited, 1);

    UNUSED(state);
    accept(&first, 1);
    accept(&refused, 1);
    accept(&last, 1);
    assert_int_equal(refused.result, ERR_NO_CAPACITY);
    assert_int_equal(last.droplets[0].public_ipv4, first.droplets[0].public_ipv4 + 1);
}

static void number_that_somebody_else_has_stops_only_its_own_create(void **state)
{
    struct accept_request taken = create_of(unlimited, 1), r[3];

    UNUSED(state);
    accept(&taken, 1);
    /* As after a database was restored without a promotion: the next address is in use. */
    run("UPDATE droplets SET ipv4 = ipv4 + 1");
    for (size_t i = 0; i < ARRAY_LEN(r); i++)
        r[i] = create_of(unlimited, 1);
    accept(r, ARRAY_LEN(r));
    assert_int_equal(r[0].result, ERR_INTERNAL);
    assert_int_equal(r[1].result, 0);
    assert_int_equal(r[2].result, 0);
    for (size_t i = 0; i < ARRAY_LEN(r); i++)
        r[i] = create_of(unlimited, 1);
    accept(r, ARRAY_LEN(r)); /* it is not handed out again */
    for (size_t i = 0; i < ARRAY_LEN(r); i++)
        assert_int_equal(r[i].result, 0);
    assert_int_equal(number("SELECT COUNT(*) FROM droplets"), 6);
    assert_int_equal(number("SELECT droplets FROM accounts WHERE id = 1"), 6);
}

static void large_user_data_is_split_over_transactions(void **state)
{
    enum { REQUESTS = 20 };
    struct accept_request *r = calloc(REQUESTS, sizeof *r);
    char *data = calloc(65536, 1);

    UNUSED(state);
    for (size_t i = 0; i < REQUESTS; i++) {
        r[i] = create_of(unlimited, 10);
        r[i].user_data = data;
        r[i].user_data_size = 65536;
    }
    accept(r, REQUESTS);
    for (size_t i = 0; i < REQUESTS; i++)
        assert_int_equal(r[i].result, 0);
    assert_int_equal(number("SELECT MIN(LENGTH(params)) > 65536 FROM events"), 1);
    assert_int_equal(number("SELECT COUNT(*) FROM events"), 200);
    free(data);
    free(r);
}

/* Two replicas and one account at its limit: together they must not pass it. */
static void *accept_many(void *arg)
{
    struct sql *mine = connect_database();
    const account_id *a = arg;
    struct accept_env own = env;
    struct error err;

    if (addresses_new(64, &own.addresses, &err) < 0)
        return NULL;
    for (int i = 0; i < 40; i++) {
        struct accept_request r = create_of(*a, 1), *list = &r;
        accept_creates(mine, &own, &list, 1);
        accept_request_clear(&r);
    }
    addresses_free(own.addresses);
    sql_free(mine);
    sql_thread_end();
    return NULL;
}

static void two_replicas_do_not_pass_an_accounts_limit(void **state)
{
    account_id a = account_with_limit(25);
    pthread_t threads[2];

    UNUSED(state);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, accept_many, &a), 0);
    for (size_t i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(number("SELECT COUNT(*) FROM droplets"), 25);
    assert_int_equal(number("SELECT SUM(droplets) FROM accounts"), 25);
}

static void without_a_database_nothing_is_accepted_and_later_it_is(void **state)
{
    struct accept_request r = create_of(unlimited, 1);

    UNUSED(state);
    server_do("kill", NULL, NULL, NULL);
    accept(&r, 1);
    assert_int_equal(r.result, ERR_UNAVAILABLE);
    server_do("start", NULL, NULL, NULL);
    struct error err;
    for (int i = 0; i < 100 && sql_connect(db, &err) < 0; i++)
        clock_pause_ms(100);
    assert_int_equal(number("SELECT COUNT(*) FROM droplets"), 0);
    r = create_of(unlimited, 1);
    accept(&r, 1);
    assert_int_equal(r.result, 0);
}

/* ---- addresses ---- */
static void used_up_block_is_followed_by_released_addresses(void **state)
{
    struct addresses *a = NULL;
    struct error err;

    UNUSED(state);
    run("INSERT INTO address_blocks VALUES ('tiny', 4, 16777216, 4, 0)"); /* 1.0.0.0: two hosts */
    run("INSERT INTO address_free VALUES ('tiny', 4, 33554432)");
    assert_int_equal(addresses_new(64, &a, &err), 0);
    assert_int_equal(addresses_reserve(a, db, "tiny", ADDRESS_PUBLIC, 3, &err), 0);
    assert_int_equal(addresses_take(a, "tiny", ADDRESS_PUBLIC), 16777218);
    assert_int_equal(addresses_take(a, "tiny", ADDRESS_PUBLIC), 16777219);
    assert_int_equal(addresses_take(a, "tiny", ADDRESS_PUBLIC), 33554432);
    assert_int_equal(addresses_reserve(a, db, "tiny", ADDRESS_PUBLIC, 1, &err), ERR_NO_CAPACITY);
    assert_int_equal(addresses_reserve(a, db, "none", ADDRESS_PUBLIC, 1, &err), ERR_NOT_FOUND);
    addresses_free(a);
    run("DELETE FROM address_blocks WHERE region = 'tiny'");
}

static void what_was_not_used_comes_back_after_a_clean_stop(void **state)
{
    struct addresses *a = NULL;
    struct error err;

    UNUSED(state);
    run("INSERT INTO address_blocks VALUES ('tiny', 4, 16777216, 6, 0)");
    assert_int_equal(addresses_new(64, &a, &err), 0);
    assert_int_equal(addresses_reserve(a, db, "tiny", ADDRESS_PUBLIC, 1, &err), 0);
    assert_int_equal(addresses_take(a, "tiny", ADDRESS_PUBLIC), 16777218);
    assert_int_equal(addresses_return(a, db, &err), 0);
    addresses_free(a);
    assert_int_equal(number("SELECT COUNT(*) FROM address_free WHERE region = 'tiny'"), 3);
    run("DELETE FROM address_blocks WHERE region = 'tiny'");
    run("DELETE FROM address_free WHERE region = 'tiny'");
}

/* ---- seeding ---- */
static void seeding_again_changes_nothing(void **state)
{
    struct error err;

    UNUSED(state);
    int64_t blocks = number("SELECT SUM(first) FROM address_blocks");
    assert_int_equal(seed_installation(db, &err), 0);
    assert_int_equal(seed_catalog(db, "ams3,nyc3", &err), 0);
    assert_int_equal(number("SELECT COUNT(*) FROM installation"), 1);
    assert_int_equal(number("SELECT SUM(first) FROM address_blocks"), blocks);
    assert_int_equal(number("SELECT COUNT(*) FROM accounts WHERE id = 1 AND droplet_limit = 0"
                            " AND NOT rate_limited"),
                     1);
}

static void blocks_of_regions_do_not_overlap(void **state)
{
    struct error err;

    UNUSED(state);
    assert_int_equal(seed_catalog(db, "r1,r2,r3,r4,r5", &err), 5);
    assert_int_equal(number("SELECT COUNT(*) FROM address_blocks a JOIN address_blocks b"
                            " ON a.kind = 4 AND b.kind = 4 AND a.region < b.region"
                            " AND a.first < b.first + b.size AND b.first < a.first + a.size"),
                     0);
    assert_int_equal(number("SELECT MIN(size) FROM address_blocks"), 1 << 20);
}

static void image_gets_its_url_by_slug(void **state)
{
    static const char sha[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    static const char *const bad[] = {"",   "x", "x=y", "harpoon-tiny=,", "harpoon-tiny=u,abc",
                                      "=u,"};
    char text[256];
    struct error err;

    UNUSED(state);
    (void)snprintf(text, sizeof text, "harpoon-tiny=file:///a,b=c,%s", sha);
    assert_int_equal(seed_image(db, text, &err), 0);
    assert_int_equal(number("SELECT COUNT(*) FROM images WHERE url = 'file:///a,b=c'"), 1);
    (void)snprintf(text, sizeof text, "no-such=file:///a,%s", sha);
    assert_int_equal(seed_image(db, text, &err), ERR_NOT_FOUND);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(seed_image(db, bad[i], &err), ERR_INVALID);
    assert_int_equal(seed_catalog(db, "nyc3", &err), 0); /* does not take it back */
    assert_int_equal(number("SELECT COUNT(*) FROM images WHERE url = 'file:///a,b=c'"), 1);
}

/* ---- tokens ---- */
static void token_is_found_by_its_hash_until_it_ends(void **state)
{
    struct token_order order = {.account = unlimited, .name = "t", .read_only = true};
    char text[TOKEN_TEXT];
    uint8_t hash[TOKEN_HASH];
    struct token t;
    struct error err;

    UNUSED(state);
    order.expires_at_ms = 5000;
    assert_int_equal(tokens_create(db, &order, text, &err), 0);
    token_hash(text, hash);
    assert_int_equal(tokens_find(db, hash, 4999, &t, &err), 0);
    assert_true(t.read_only);
    assert_int_equal(t.account.id.v, 1);
    assert_string_equal(t.account.name, "Development");
    assert_int_equal(tokens_find(db, hash, 5000, &t, &err), ERR_NOT_FOUND);
    hash[0] ^= 1;
    assert_int_equal(tokens_find(db, hash, 4999, &t, &err), ERR_NOT_FOUND);
    assert_int_equal(number("SELECT COUNT(*) FROM tokens WHERE hash LIKE 'hpn%'"), 0);
}

static void revoked_token_is_not_found(void **state)
{
    struct token_order order = {.email = "dev@harpoon.example", .name = "t"};
    char text[TOKEN_TEXT];
    uint8_t hash[TOKEN_HASH];
    struct token t;
    struct error err;

    UNUSED(state);
    assert_int_equal(tokens_create(db, &order, text, &err), 0);
    token_hash(text, hash);
    assert_int_equal(tokens_find(db, hash, 1, &t, &err), 0);
    run("UPDATE tokens SET revoked_at = 1");
    assert_int_equal(tokens_find(db, hash, 1, &t, &err), ERR_NOT_FOUND);
    order.email = "nobody@example.com";
    assert_int_equal(tokens_create(db, &order, text, &err), ERR_NOT_FOUND);
}

/* ---- what customers read ---- */
static void lists_show_newest_first_and_only_ones_own(void **state)
{
    account_id other = account_with_limit(10);
    struct accept_request mine = create_of(unlimited, 5), theirs = create_of(other, 3);
    struct droplet_filter f = {.account = unlimited, .limit = 2};
    struct droplet_list list;
    struct error err;

    UNUSED(state);
    accept(&mine, 1);
    accept(&theirs, 1);
    assert_int_equal(droplets_list(db, &f, &list, &err), 0);
    assert_int_equal(list.total, 5);
    assert_int_equal(list.count, 2);
    assert_int_equal(list.records[0].id.v, mine.droplets[4].id.v);
    assert_int_equal(list.records[1].id.v, mine.droplets[3].id.v);
    droplet_list_clear(&list);
    f.offset = 4;
    assert_int_equal(droplets_list(db, &f, &list, &err), 0);
    assert_int_equal(list.count, 1);
    assert_int_equal(list.records[0].id.v, mine.droplets[0].id.v);
    droplet_list_clear(&list);
    f.offset = 6;
    assert_int_equal(droplets_list(db, &f, &list, &err), 0);
    assert_int_equal(list.count, 0);
    assert_int_equal(list.total, 5);
    assert_int_equal(droplets_find(db, unlimited, theirs.droplets[0].id, &list, &err),
                     ERR_NOT_FOUND);
}

static void filters_by_tag_and_name_count_exactly(void **state)
{
    const char *tags[] = {"Web"};
    struct accept_request tagged = create_of(unlimited, 3), plain = create_of(unlimited, 2);
    struct droplet_filter f = {.account = unlimited, .limit = 20, .tag = "web"};
    struct droplet_list list;
    struct error err;

    UNUSED(state);
    tagged.tags = tags;
    tagged.tag_count = 1;
    accept(&tagged, 1);
    accept(&plain, 1);
    assert_int_equal(droplets_list(db, &f, &list, &err), 0);
    assert_int_equal(list.total, 3);
    assert_string_equal(list.records[0].tags[0], "Web");
    droplet_list_clear(&list);
    f.name = "A";
    assert_int_equal(droplets_list(db, &f, &list, &err), 0);
    assert_int_equal(list.total, 1);
    droplet_list_clear(&list);
    f.tag = NULL;
    assert_int_equal(droplets_list(db, &f, &list, &err), 0);
    assert_int_equal(list.total, 2);
    assert_int_equal(list.count, 2);
    droplet_list_clear(&list);
}

static void filter_that_no_name_or_tag_can_have_finds_nothing(void **state)
{
    static const char *const odd[] = {"", "caf\xc3\xa9", "\xf0\x9f\x98\x80", "\xff", "%", "\x01"};
    struct accept_request r = create_of(unlimited, 1);
    struct droplet_list list;
    struct error err;

    UNUSED(state);
    accept(&r, 1);
    for (size_t i = 0; i < 2 * ARRAY_LEN(odd); i++) {
        struct droplet_filter f = {.account = unlimited, .limit = 20};
        if (i < ARRAY_LEN(odd))
            f.name = odd[i];
        else
            f.tag = odd[i - ARRAY_LEN(odd)];
        assert_int_equal(droplets_list(db, &f, &list, &err), 0);
        assert_int_equal(list.total, 0);
        droplet_list_clear(&list);
    }
}

static void deleted_droplet_is_in_no_list_and_its_actions_live_on(void **state)
{
    const char *tags[] = {"web"};
    struct accept_request r = create_of(unlimited, 2);
    struct events_env events = {&env.installation, env.event_ids};
    struct droplet_filter f = {.account = unlimited, .limit = 20};
    struct droplet_list list;
    struct action_list *actions = malloc(sizeof *actions);
    struct error err;
    droplet_id ids[4];

    UNUSED(state);
    r.tags = tags;
    r.tag_count = 1;
    accept(&r, 1);
    struct droplet_delete d = {.droplet = r.droplets[0].id,
                               .account = unlimited,
                               .actor = "customer"};
    assert_int_equal(events_delete(db, &events, &d, 1, &err), 0);
    assert_true(d.found);
    assert_int_equal(droplets_list(db, &f, &list, &err), 0);
    assert_int_equal(list.total, 1);
    assert_int_equal(list.records[0].id.v, r.droplets[1].id.v);
    droplet_list_clear(&list);
    assert_int_equal(droplets_find(db, unlimited, r.droplets[0].id, &list, &err), ERR_NOT_FOUND);
    assert_int_equal(droplets_was_there(db, unlimited, r.droplets[0].id, &err), 1);
    assert_int_equal(droplets_tagged(db, unlimited, "web", (droplet_id){0}, ids, 4, &err), 1);
    assert_int_equal(actions_list(db, unlimited, r.droplets[0].id, 0, 20, actions, &err), 0);
    assert_int_equal(actions->total, 1);
    assert_int_equal(actions->records[0].state, EVENT_CANCELLED);
    assert_int_equal(actions_list(db, unlimited, (droplet_id){0}, 0, 20, actions, &err), 0);
    assert_int_equal(actions->total, 2);
    free(actions);
}

static void action_is_found_by_its_owner_and_its_droplet_only(void **state)
{
    account_id other = account_with_limit(10);
    struct accept_request r = create_of(unlimited, 2);
    struct action_record a;
    struct error err;

    UNUSED(state);
    accept(&r, 1);
    event_id id = r.droplets[0].event;
    assert_int_equal(actions_find(db, unlimited, (droplet_id){0}, id, &a, &err), 0);
    assert_int_equal(a.droplet.v, r.droplets[0].id.v);
    assert_int_equal(actions_find(db, unlimited, r.droplets[0].id, id, &a, &err), 0);
    assert_int_equal(actions_find(db, unlimited, r.droplets[1].id, id, &a, &err), ERR_NOT_FOUND);
    assert_int_equal(actions_find(db, other, (droplet_id){0}, id, &a, &err), ERR_NOT_FOUND);
}

static void cleanups_are_not_shown(void **state)
{
    struct accept_request r = create_of(unlimited, 1);
    struct action_list *actions = malloc(sizeof *actions);
    struct action_record a;
    struct error err;

    UNUSED(state);
    accept(&r, 1);
    run("UPDATE events SET type = 3");
    assert_int_equal(actions_list(db, unlimited, (droplet_id){0}, 0, 20, actions, &err), 0);
    assert_int_equal(actions->total, 0);
    assert_int_equal(actions_find(db, unlimited, (droplet_id){0}, r.droplets[0].event, &a, &err),
                     ERR_NOT_FOUND);
    free(actions);
}

static void ssh_key_has_one_fingerprint_an_account(void **state)
{
    account_id other = account_with_limit(10);
    struct ssh_key key = {.name = strdup("k"),
                          .public_key = strdup("ssh-ed25519 AAAA"),
                          .fingerprint = "27:1a:02:83:57:03:ac:ee:17:e4:74:ab:01:94:cc:3b"};
    struct key_name by_id = {.id = 5}, by_fingerprint = {0};
    struct ssh_key found;
    struct ssh_key_list list;
    struct error err;

    UNUSED(state);
    strcpy(by_fingerprint.fingerprint, key.fingerprint);
    assert_int_equal(keys_add(db, unlimited, &key, 5, &err), 0);
    assert_int_equal(keys_add(db, unlimited, &key, 6, &err), ERR_CONFLICT);
    assert_int_equal(keys_add(db, other, &key, 7, &err), 0);
    ssh_key_clear(&key);
    assert_int_equal(keys_find(db, unlimited, &by_id, &found, &err), 0);
    ssh_key_clear(&found);
    assert_int_equal(keys_find(db, other, &by_id, &found, &err), ERR_NOT_FOUND);
    assert_int_equal(keys_find(db, other, &by_fingerprint, &found, &err), 0);
    assert_int_equal(found.id, 7);
    ssh_key_clear(&found);
    assert_int_equal(keys_rename(db, unlimited, 5, "k", &err), 0); /* the same name */
    assert_int_equal(keys_rename(db, unlimited, 7, "x", &err), ERR_NOT_FOUND);
    assert_int_equal(keys_remove(db, unlimited, 7, &err), ERR_NOT_FOUND);
    assert_int_equal(keys_remove(db, unlimited, 5, &err), 0);
    assert_int_equal(keys_list(db, unlimited, 0, 20, &list, &err), 0);
    assert_int_equal(list.total, 0);
    ssh_key_list_clear(&list);
}

/* ---- tags ---- */
/* A droplet with `tag`, or with none. */
static droplet_id tagged_droplet(account_id account, const char *tag)
{
    struct accept_request r = create_of(account, 1);

    r.tags = &tag;
    r.tag_count = tag != NULL;
    accept(&r, 1);
    assert_int_equal(r.result, 0);
    return r.droplets[0].id;
}

static uint64_t wearers(account_id account, const char *name)
{
    struct error err;
    struct tag tag;

    if (tags_find(db, account, name, &tag, &err) < 0)
        fail_msg("%s: %s", name, err.message);
    return tag.droplets;
}

static void tags_of_a_batch_are_made_once_and_keep_their_first_spelling(void **state)
{
    const char *first[] = {"Web", "db"}, *second[] = {"web", "DB"};
    struct accept_request r[] = {create_of(unlimited, 3), create_of(unlimited, 2)};
    struct droplet_list list = {0};
    struct error err;

    UNUSED(state);
    r[0].tags = first;
    r[0].tag_count = r[1].tag_count = 2;
    accept(&r[0], 1);
    r[1].tags = second;
    accept(&r[1], 1);
    assert_int_equal(r[1].result, 0);
    assert_int_equal(number("SELECT COUNT(*) FROM tags"), 2);
    assert_int_equal(wearers(unlimited, "WEB"), 5);
    assert_int_equal(droplets_find(db, unlimited, r[1].droplets[0].id, &list, &err), 0);
    assert_int_equal(list.records[0].tag_count, 2);
    assert_string_equal(list.records[0].tags[0], "db");
    assert_string_equal(list.records[0].tags[1], "Web");
    droplet_list_clear(&list);
}

static void refused_create_makes_no_tag(void **state)
{
    const char *tag = "web";
    account_id small = account_with_limit(1);
    struct accept_request r = create_of(small, 2);

    UNUSED(state);
    r.tags = &tag;
    r.tag_count = 1;
    accept(&r, 1);
    assert_int_equal(r.result, ERR_NO_CAPACITY);
    assert_int_equal(number("SELECT COUNT(*) FROM tags"), 0);
}

static void tag_goes_on_all_droplets_named_or_on_none(void **state)
{
    droplet_id ids[2] = {tagged_droplet(unlimited, NULL), tagged_droplet(unlimited, NULL)};
    droplet_id beyond[2] = {ids[0], {999999999}};
    struct error err;

    UNUSED(state);
    assert_int_equal(tags_attach(db, unlimited, "web", ids, 2, &err), ERR_NOT_FOUND);
    assert_int_equal(tags_add(db, unlimited, "web", &err), 0);
    assert_int_equal(tags_attach(db, unlimited, "web", beyond, 2, &err), ERR_NOT_FOUND);
    assert_int_equal(wearers(unlimited, "web"), 0);
    assert_int_equal(tags_attach(db, unlimited, "WEB", ids, 2, &err), 0);
    assert_int_equal(tags_attach(db, unlimited, "web", ids, 2, &err), 0);
    assert_int_equal(wearers(unlimited, "web"), 2);
    assert_int_equal(tags_detach(db, unlimited, "Web", ids, 1, &err), 0);
    assert_int_equal(tags_detach(db, unlimited, "web", ids, 1, &err), 0);
    assert_int_equal(wearers(unlimited, "web"), 1);
}

static void tags_of_another_account_are_nowhere(void **state)
{
    account_id other = account_with_limit(10);
    droplet_id mine = tagged_droplet(unlimited, "web"), theirs = tagged_droplet(other, "web");
    struct tag_list list = {0};
    struct error err;
    struct tag tag;

    UNUSED(state);
    assert_int_equal(wearers(unlimited, "web"), 1);
    assert_int_equal(tags_attach(db, unlimited, "web", &theirs, 1, &err), ERR_NOT_FOUND);
    assert_int_equal(tags_detach(db, unlimited, "web", &theirs, 1, &err), ERR_NOT_FOUND);
    assert_int_equal(tags_remove(db, unlimited, "web", &err), 0);
    assert_int_equal(tags_find(db, unlimited, "web", &tag, &err), ERR_NOT_FOUND);
    assert_int_equal(tags_attach(db, unlimited, "web", &mine, 1, &err), ERR_NOT_FOUND);
    assert_int_equal(tags_list(db, unlimited, 0, 20, &list, &err), 0);
    assert_int_equal(list.total, 0);
    tag_list_clear(&list);
    assert_int_equal(wearers(other, "web"), 1);
}

static void droplet_with_too_many_tags_gets_no_other(void **state)
{
    droplet_id id = tagged_droplet(unlimited, NULL);
    struct error err;
    char name[16];

    UNUSED(state);
    for (int i = 0; i <= TAG_DROPLET_TAGS_MAX; i++) {
        (void)snprintf(name, sizeof name, "t%d", i);
        assert_int_equal(tags_add(db, unlimited, name, &err), 0);
        assert_int_equal(tags_attach(db, unlimited, name, &id, 1, &err),
                         i < TAG_DROPLET_TAGS_MAX ? 0 : ERR_INVALID);
    }
    assert_int_equal(wearers(unlimited, name), 0);
}

static void tag_is_stripped_in_slices_before_it_goes(void **state)
{
    struct error err;

    UNUSED(state);
    for (int i = 0; i < 5; i++)
        tagged_droplet(unlimited, "web");
    assert_int_equal(tags_strip(db, unlimited, "web", 3, &err), 3);
    assert_int_equal(wearers(unlimited, "web"), 2);
    assert_int_equal(tags_remove(db, unlimited, "WEB", &err), 0);
    assert_int_equal(tags_remove(db, unlimited, "web", &err), ERR_NOT_FOUND);
    assert_int_equal(number("SELECT COUNT(*) FROM droplet_tags"), 0);
}

/* Whatever the order: no droplet wears a tag that is not there. */
static void *create_tagged(void *arg)
{
    UNUSED(arg);
    struct sql *other = connect_database();
    const char *tag = "storm";
    for (int i = 0; i < 40; i++) {
        struct accept_request r = create_of(unlimited, 1), *list = &r;
        r.tags = &tag;
        r.tag_count = 1;
        accept_creates(other, &env, &list, 1);
        accept_request_clear(&r);
    }
    sql_free(other);
    sql_thread_end();
    return NULL;
}

static void tags_deleted_while_creates_use_them_leave_nothing_behind(void **state)
{
    pthread_t thread;
    struct error err;

    UNUSED(state);
    assert_int_equal(pthread_create(&thread, NULL, create_tagged, NULL), 0);
    for (int i = 0; i < 60; i++) {
        int r = tags_remove(db, unlimited, "storm", &err);
        if (r != 0 && r != ERR_NOT_FOUND && r != ERR_BUSY)
            fail_msg("%s", err.message);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(number("SELECT COUNT(*) FROM droplets"), 40);
    assert_int_equal(number("SELECT COUNT(*) FROM droplet_tags t LEFT JOIN tags n"
                            " ON n.account_id = t.account_id AND n.tag = t.tag"
                            " WHERE n.tag IS NULL"),
                     0);
}

static void neighbors_are_the_accounts_own_and_living(void **state)
{
    account_id other = account_with_limit(10);
    droplet_id a = tagged_droplet(unlimited, "web"), b = tagged_droplet(unlimited, "web");
    droplet_id gone = tagged_droplet(unlimited, NULL);
    struct droplet_home *homes = NULL;
    struct droplet_list list = {0};
    struct error err;

    UNUSED(state);
    tagged_droplet(other, NULL);
    assert_int_equal(droplets_neighbors(db, unlimited, a, &list, &err), 0);
    assert_int_equal(list.count, 0); /* without a hypervisor nobody is near */
    droplet_list_clear(&list);
    run("UPDATE droplets SET hypervisor_id = 7");
    struct sql_value id = SQL_U(gone.v);
    assert_int_equal(sql_exec(db, "UPDATE droplets SET deleted_at = 1 WHERE id = ?", &id, 1, &err),
                     1);
    assert_int_equal(droplets_neighbors(db, unlimited, a, &list, &err), 0);
    assert_int_equal(list.count, 1);
    assert_int_equal(list.records[0].id.v, b.v);
    assert_int_equal(list.records[0].tag_count, 1);
    droplet_list_clear(&list);
    assert_int_equal(droplets_homes(db, unlimited, 2, &homes, &err), 2);
    assert_int_equal(homes[0].droplet.v, a.v);
    assert_int_equal(homes[1].hypervisor.v, 7);
    free(homes);
    assert_int_equal(droplets_homes(db, unlimited, 1, &homes, &err), ERR_INVALID);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, setup)
    const struct CMUnitTest tests[] = {
        TEST(accepted_create_is_a_droplet_its_tags_and_a_pending_event),
        TEST(request_beyond_the_limit_is_refused_and_the_others_are_not),
        TEST(limit_that_the_api_did_not_know_yet_holds),
        TEST(account_that_is_gone_has_its_request_refused),
        TEST(no_address_is_handed_out_twice),
        TEST(address_of_a_refused_request_goes_to_the_next_one),
        TEST(number_that_somebody_else_has_stops_only_its_own_create),
        TEST(large_user_data_is_split_over_transactions),
        TEST(two_replicas_do_not_pass_an_accounts_limit),
        TEST(used_up_block_is_followed_by_released_addresses),
        TEST(what_was_not_used_comes_back_after_a_clean_stop),
        TEST(token_is_found_by_its_hash_until_it_ends),
        TEST(revoked_token_is_not_found),
        TEST(lists_show_newest_first_and_only_ones_own),
        TEST(filters_by_tag_and_name_count_exactly),
        TEST(filter_that_no_name_or_tag_can_have_finds_nothing),
        TEST(deleted_droplet_is_in_no_list_and_its_actions_live_on),
        TEST(action_is_found_by_its_owner_and_its_droplet_only),
        TEST(cleanups_are_not_shown),
        TEST(ssh_key_has_one_fingerprint_an_account),
        TEST(seeding_again_changes_nothing),
        TEST(image_gets_its_url_by_slug),
        TEST(blocks_of_regions_do_not_overlap),
        TEST(tags_of_a_batch_are_made_once_and_keep_their_first_spelling),
        TEST(refused_create_makes_no_tag),
        TEST(tag_goes_on_all_droplets_named_or_on_none),
        TEST(tags_of_another_account_are_nowhere),
        TEST(droplet_with_too_many_tags_gets_no_other),
        TEST(tag_is_stripped_in_slices_before_it_goes),
        TEST(tags_deleted_while_creates_use_them_leave_nothing_behind),
        TEST(neighbors_are_the_accounts_own_and_living),
        TEST(without_a_database_nothing_is_accepted_and_later_it_is),
    };
    return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
