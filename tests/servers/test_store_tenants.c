/* Answers kept for Idempotency-Keys, and what operators see of tenants, against a real MariaDB. */
#include "harpoon/store/accept.h"
#include "harpoon/store/idempotency.h"
#include "harpoon/store/seed.h"
#include "harpoon/store/tenants.h"
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
static const account_id first_account = {1};

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
    *(int64_t *)ctx = sql_row_i64(row, 0);
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

static int setup_group(void **state)
{
    struct error err;
    char folder[4096];

    UNUSED(state);
    sql_library_init();
    db = connect_database();
    (void)snprintf(folder, sizeof folder, "%s/harpoon/schema", getenv("HARPOON_TEST_SOURCE"));
    if (sql_migrate(db, folder, NULL, &err) < 0 || seed_installation(db, &err) < 0 ||
        seed_catalog(db, "nyc3", &err) < 0 || catalog_load(db, &catalog, &err) < 0)
        fail_msg("%s", err.message);
    env.installation = catalog->installation;
    env.create_deadline_ms = 900000;
    if (ids_new("droplet", 100, &env.droplet_ids, &err) < 0 ||
        ids_new("event", 100, &env.event_ids, &err) < 0 ||
        addresses_new(64, &env.addresses, &err) < 0)
        fail_msg("%s", err.message);
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
    run("DELETE FROM events");
    run("DELETE FROM idempotency");
    run("DELETE FROM tokens");
    run("DELETE FROM accounts WHERE id <> 1");
    run("UPDATE accounts SET droplets = 0");
    return 0;
}

static struct idempotency_key key_of(account_id account, const char *name, uint8_t hash)
{
    struct idempotency_key key = {.account = account, .name = name};

    memset(key.hash, hash, sizeof key.hash);
    return key;
}

/* The first droplet's number: known when it is asked for, and in no other answer. */
static char *make_answer(void *ctx)
{
    const struct accept_request *r = ctx;
    char *text = NULL;

    if (asprintf(&text, "{\"id\":%" PRIu64 "}", r->droplets[0].id.v) < 0)
        return NULL;
    return text;
}

static void fill_create(struct accept_request *r, const struct idempotency_key *key)
{
    *r = (struct accept_request){
        .account = first_account,
        .region = catalog_find_region(catalog, "nyc3"),
        .size = catalog_find_size(catalog, "s-1vcpu-1gb"),
        .image = catalog_find_image_slug(catalog, first_account, "debian-12-x64"),
        .body = "{\"features\":[]}",
        .trace_id = "t",
        .droplets = {{.name = "a"}},
        .count = 1,
        .key = key,
        .make_answer = make_answer,
        .ctx = r,
    };
}

static void insert(const struct idempotency_key *key, const char *answer)
{
    const struct idempotency_row row = {key, 201, answer};
    struct error err;

    if (idempotency_insert(db, &row, 1, &err) < 0)
        fail_msg("%s", err.message);
}

/* ---- answers ---- */
static void create_with_a_key_is_stored_with_its_answer(void **state)
{
    struct idempotency_key key = key_of(first_account, "k", 7);
    struct accept_request r, plain, *both[] = {&r, &plain};
    struct idempotency_answer answer;
    struct error err;

    UNUSED(state);
    fill_create(&r, &key);
    fill_create(&plain, NULL);
    accept_creates(db, &env, both, 2);
    assert_int_equal(r.result, 0);
    assert_int_equal(plain.result, 0);
    assert_null(plain.answer);
    assert_int_equal(idempotency_find(db, &key, &answer, &err), 0);
    assert_string_equal(answer.text, r.answer);
    assert_int_equal(answer.status, ACCEPT_STATUS);
    assert_memory_equal(answer.hash, key.hash, sizeof key.hash);
    assert_int_equal(number("SELECT COUNT(*) FROM idempotency"), 1);
    free(answer.text);
    accept_request_clear(&r);
    accept_request_clear(&plain);
}

static void key_that_is_taken_makes_nothing_and_the_batch_goes_on(void **state)
{
    struct idempotency_key taken = key_of(first_account, "taken", 1);
    struct idempotency_key fresh = key_of(first_account, "fresh", 1);
    struct accept_request late, keyed, plain, *all[] = {&late, &keyed, &plain};

    UNUSED(state);
    insert(&taken, "{}");
    fill_create(&late, &taken);
    fill_create(&keyed, &fresh);
    fill_create(&plain, NULL);
    accept_creates(db, &env, all, ARRAY_LEN(all));
    assert_int_equal(late.result, ERR_CONFLICT);
    assert_int_equal(keyed.result, 0);
    assert_int_equal(plain.result, 0);
    assert_int_equal(number("SELECT COUNT(*) FROM droplets"), 2);
    assert_int_equal(number("SELECT droplets FROM accounts WHERE id = 1"), 2);
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        accept_request_clear(all[i]);
}

enum { RACERS = 4, KEYS = 40 };

struct racer {
    pthread_t thread;
    struct idempotency_key keys[KEYS];
    size_t accepted, refused;
};
static char race_names[KEYS][8];

static void *race(void *arg)
{
    struct racer *r = arg;
    struct sql *mine = connect_database();

    for (size_t i = 0; i < KEYS; i += 10) {
        struct accept_request requests[10], *list[10];
        for (size_t k = 0; k < 10; k++) {
            fill_create(&requests[k], &r->keys[i + k]);
            list[k] = &requests[k];
        }
        accept_creates(mine, &env, list, 10);
        for (size_t k = 0; k < 10; k++) {
            r->accepted += requests[k].result == 0;
            r->refused += requests[k].result == ERR_CONFLICT;
            accept_request_clear(&requests[k]);
        }
    }
    sql_free(mine);
    sql_thread_end();
    return NULL;
}

static void replicas_with_the_same_keys_make_each_droplet_once(void **state)
{
    static struct racer racers[RACERS];
    size_t accepted = 0, refused = 0;

    UNUSED(state);
    for (size_t i = 0; i < KEYS; i++)
        (void)snprintf(race_names[i], sizeof race_names[i], "k%zu", i);
    for (size_t i = 0; i < RACERS; i++) {
        racers[i] = (struct racer){0};
        for (size_t k = 0; k < KEYS; k++) /* half of them the other way round */
            racers[i].keys[k] = key_of(first_account, race_names[i % 2 == 0 ? k : KEYS - 1 - k], 1);
        assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
    }
    for (size_t i = 0; i < RACERS; i++) {
        pthread_join(racers[i].thread, NULL);
        accepted += racers[i].accepted;
        refused += racers[i].refused;
    }
    assert_int_equal(accepted, number("SELECT COUNT(*) FROM droplets"));
    assert_int_equal(accepted, number("SELECT COUNT(*) FROM idempotency"));
    assert_int_equal(accepted, number("SELECT droplets FROM accounts WHERE id = 1"));
    assert_true(accepted <= KEYS);
    assert_true(accepted > 0 && refused > 0);
}

static void keys_belong_to_their_account_and_case_matters(void **state)
{
    struct idempotency_key mine = key_of(first_account, "Key", 1);
    struct idempotency_key lower = key_of(first_account, "key", 1);
    struct idempotency_key theirs = key_of((account_id){2}, "Key", 1);
    struct idempotency_row again = {&mine, 201, "{}"};
    struct idempotency_answer answer;
    struct error err;

    UNUSED(state);
    insert(&mine, "{\"of\":1}");
    assert_int_equal(idempotency_exists(db, &mine, &err), 1);
    assert_int_equal(idempotency_exists(db, &theirs, &err), 0);
    assert_int_equal(idempotency_exists(db, &lower, &err), 0);
    assert_int_equal(idempotency_find(db, &theirs, &answer, &err), ERR_NOT_FOUND);
    insert(&theirs, "{\"of\":2}");
    insert(&lower, "{}");
    assert_int_equal(idempotency_insert(db, &again, 1, &err), ERR_CONFLICT);
    assert_int_equal(idempotency_find(db, &mine, &answer, &err), 0);
    assert_string_equal(answer.text, "{\"of\":1}");
    free(answer.text);
}

static void answers_are_removed_after_a_day_a_slice_at_a_time(void **state)
{
    struct idempotency_key keys[3];
    struct error err;

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        static const char *const names[] = {"a", "b", "c"};
        keys[i] = key_of(first_account, names[i], 1);
        insert(&keys[i], "{}");
    }
    assert_int_equal(idempotency_prune(db, IDEMPOTENCY_KEEP_MS, &err), 0);
    run("UPDATE idempotency SET created_at = created_at - 86400000 WHERE name <> 'c'");
    assert_int_equal(idempotency_prune(db, IDEMPOTENCY_KEEP_MS, &err), 2);
    assert_int_equal(idempotency_exists(db, &keys[2], &err), 1);
    run("INSERT INTO idempotency (account_id, name, hash, status, created_at, answer)"
        " SELECT 1, CONCAT('old', seq), REPEAT('h', 32), 202, 1, '{}' FROM seq_1_to_700");
    assert_int_equal(idempotency_prune(db, IDEMPOTENCY_KEEP_MS, &err), IDEMPOTENCY_SLICE - 1);
    assert_int_equal(idempotency_prune(db, IDEMPOTENCY_KEEP_MS, &err), 700 - IDEMPOTENCY_SLICE + 1);
    assert_int_equal(number("SELECT COUNT(*) FROM idempotency"), 1);
}

/* ---- tenants ---- */
static account_id make_account(const char *email, uint32_t limit)
{
    struct account a = {.droplet_limit = limit, .rate_limited = true, .name = "n"};
    struct error err;

    (void)snprintf(a.email, sizeof a.email, "%s", email);
    assert_int_equal(accounts_create(db, &a, &err), 1);
    return a.id;
}

static void accounts_are_listed_in_pages(void **state)
{
    account_id a = make_account("a@example.com", 5), b = make_account("b@example.com", 0);
    struct account_record page[3];
    struct error err;

    UNUSED(state);
    assert_int_equal(accounts_list(db, 0, 2, page, &err), 2);
    assert_int_equal(page[0].account.id.v, 1);
    assert_int_equal(page[1].account.id.v, a.v);
    assert_string_equal(page[1].account.email, "a@example.com");
    assert_int_equal(page[1].account.droplet_limit, 5);
    assert_true(page[1].created_ms > 0);
    assert_int_equal(accounts_list(db, a.v, 3, page, &err), 1);
    assert_int_equal(page[0].account.id.v, b.v);
    assert_int_equal(accounts_find(db, b, &page[0], &err), 0);
    assert_int_equal(accounts_find(db, (account_id){b.v + 1}, &page[0], &err), ERR_NOT_FOUND);
}

static void token_is_listed_without_its_secret_and_revoked_once(void **state)
{
    account_id a = make_account("a@example.com", 5);
    uint64_t ids[2];
    struct token_order order = {.account = a, .name = "laptop", .read_only = true};
    struct token_record page[3], revoked;
    char text[TOKEN_TEXT];
    uint8_t hash[TOKEN_HASH];
    struct token found;
    struct error err;

    UNUSED(state);
    order.ret_id = &ids[0];
    assert_int_equal(tokens_create(db, &order, text, &err), 0);
    order = (struct token_order){.account = first_account, .name = "", .ret_id = &ids[1]};
    assert_int_equal(tokens_create(db, &order, text, &err), 0);
    assert_int_equal(tokens_list(db, a, 0, 3, page, &err), 1);
    assert_int_equal(page[0].id, ids[0]);
    assert_string_equal(page[0].name, "laptop");
    assert_true(page[0].read_only);
    assert_int_equal(page[0].expires_ms + page[0].revoked_ms + page[0].used_ms, 0);
    assert_int_equal(tokens_list(db, (account_id){0}, 0, 3, page, &err), 2);
    assert_int_equal(tokens_list(db, (account_id){0}, ids[0], 3, page, &err), 1);
    assert_int_equal(page[0].id, ids[1]);

    token_hash(text, hash);
    assert_int_equal(tokens_find(db, hash, 1, &found, &err), 0);
    assert_int_equal(tokens_revoke(db, ids[1], 1000, &revoked, &err), 0);
    assert_int_equal(revoked.revoked_ms, 1000);
    assert_int_equal(tokens_revoke(db, ids[1], 2000, &revoked, &err), 0);
    assert_int_equal(revoked.revoked_ms, 1000);
    assert_int_equal(tokens_find(db, hash, 1, &found, &err), ERR_NOT_FOUND);
    assert_int_equal(tokens_revoke(db, ids[1] + 1, 1, &revoked, &err), ERR_NOT_FOUND);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, setup)
    const struct CMUnitTest tests[] = {
        TEST(create_with_a_key_is_stored_with_its_answer),
        TEST(key_that_is_taken_makes_nothing_and_the_batch_goes_on),
        TEST(replicas_with_the_same_keys_make_each_droplet_once),
        TEST(keys_belong_to_their_account_and_case_matters),
        TEST(answers_are_removed_after_a_day_a_slice_at_a_time),
        TEST(accounts_are_listed_in_pages),
        TEST(token_is_listed_without_its_secret_and_revoked_once),
    };
    return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
