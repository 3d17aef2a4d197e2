#include "harpoon/api/create.h"
#include "harpoon/api/json.h"
#include "tests/unit/harpoon/api/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>

static const account_id me = {7}, other = {8};

/* What POST /v2/droplets answers to `body`: 400, 422 or 202. */
static int status_of(const char *body, account_id account, struct error *err)
{
    struct catalog *catalog = catalog_for_tests();
    struct create_order order;
    json_t *json = NULL;
    int status = 400;

    if (json_parse_object(body, strlen(body), &json, err) >= 0)
        status = create_parse(json, catalog, account, 0, &order, err) < 0 ? 422 : 202;
    json_decref(json);
    catalog_unref(catalog);
    return status;
}

/* `rest` of a body that is complete otherwise. */
#define WITH(rest)   "{\"name\":\"a\",\"size\":\"s-1\",\"image\":\"debian-12-x64\"," rest "}"
#define NAMED(name)  "{\"name\":" name ",\"size\":\"s-1\",\"image\":\"debian-12-x64\"}"
#define NAMES(names) "{\"names\":" names ",\"size\":\"s-1\",\"image\":\"debian-12-x64\"}"
#define SIZE(size)   "{\"name\":\"a\",\"size\":" size ",\"image\":\"debian-12-x64\"}"
#define IMAGE(image) "{\"name\":\"a\",\"size\":\"s-1\",\"image\":" image "}"
#define TEN          "1,1,1,1,1,1,1,1,1,1"
#define HUNDRED      TEN "," TEN "," TEN "," TEN "," TEN "," TEN "," TEN "," TEN "," TEN "," TEN

static const struct {
    const char *body;
    int status;
    const char *says; /* in the message */
} refused[] = {
    /* not JSON */
    {"", 400, "empty"},
    {" ", 400, "JSON"},
    {"{", 400, "JSON"},
    {"}", 400, "JSON"},
    {"{\"name\"}", 400, "JSON"},
    {"{\"name\":}", 400, "JSON"},
    {"{'name':'a'}", 400, "JSON"},
    {"{\"name\":\"a\",}", 400, "JSON"},
    {"{\"name\":\"a\"} x", 400, "follows"},
    {"{\"name\":NaN}", 400, "JSON"},
    {"{\"name\":Infinity}", 400, "JSON"},
    {"{\"name\":-}", 400, "JSON"},
    {"{\"name\":01}", 400, "JSON"},
    {"{\"name\":1e999999}", 400, "too large"},
    {"{\"image\":99999999999999999999}", 400, "too large"},
    {"{\"name\":\"\\u0000\"}", 400, "NUL"},
    {"{\"\\u0000\":1}", 400, "NUL"},
    {"{\"name\":\"\xff\"}", 400, "UTF-8"},
    {"{\"name\":\"\xc3\"}", 400, "UTF-8"},
    {"{\"name\":\"\xed\xa0\x80\"}", 400, "UTF-8"},
    {"{\"name\":\"\\ud800\"}", 400, "JSON"},
    {"{\"name\":\"a\nb\"}", 400, "JSON"},
    {"name=a&size=s-1", 400, "JSON"},
    {"<xml/>", 400, "JSON"},
    {"null", 400, "object"},
    {"true", 400, "object"},
    {"1", 400, "object"},
    {"\"a\"", 400, "object"},
    {"[]", 400, "object"},
    {"[{\"name\":\"a\"}]", 400, "object"},
    /* names */
    {"{}", 422, "name"},
    {"{\"name\":null}", 422, "name"},
    {NAMED("\"\""), 422, "name"},
    {NAMED("5"), 422, "name"},
    {NAMED("[\"a\"]"), 422, "name"},
    {NAMED("{}"), 422, "name"},
    {NAMED("true"), 422, "name"},
    {NAMED("\"a_b\""), 422, "name"},
    {NAMED("\"a b\""), 422, "name"},
    {NAMED("\"a.\""), 422, "name"},
    {NAMED("\"a-\""), 422, "name"},
    {NAMED("\"\xc3\xa9\""), 422, "name"},
    {NAMED("\"a/b\""), 422, "name"},
    {NAMED("\"a\\u0007\""), 422, "name"},
    {NAMES("[]"), 422, "names"},
    {NAMES("\"a\""), 422, "names"},
    {NAMES("{}"), 422, "names"},
    {NAMES("[1]"), 422, "names"},
    {NAMES("[null]"), 422, "names"},
    {NAMES("[\"a\",\"b \"]"), 422, "names"},
    {NAMES("[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\"]"), 422, "names"},
    {WITH("\"names\":[\"b\"]"), 422, "names"},
    /* region */
    {WITH("\"region\":\"mars1\""), 422, "region"},
    {WITH("\"region\":\"sfo1\""), 422, "region"},
    {WITH("\"region\":\"sfo\""), 422, "region"},
    {WITH("\"region\":\"NYC3\""), 422, "region"},
    {WITH("\"region\":3"), 422, "region"},
    {WITH("\"region\":{\"slug\":\"nyc3\"}"), 422, "region"},
    /* size */
    {"{\"name\":\"a\",\"image\":\"debian-12-x64\"}", 422, "size"},
    {SIZE("null"), 422, "size"},
    {SIZE("\"\""), 422, "size"},
    {SIZE("\"s-9\""), 422, "size"},
    {SIZE("\"s-old\""), 422, "size"},
    {SIZE("66"), 422, "size"},
    {SIZE("[]"), 422, "size"},
    /* image */
    {"{\"name\":\"a\",\"size\":\"s-1\"}", 422, "image"},
    {IMAGE("null"), 422, "image"},
    {IMAGE("\"\""), 422, "image"},
    {IMAGE("\"no-such\""), 422, "image"},
    {IMAGE("\"gone-x64\""), 422, "image"},
    {IMAGE("1004"), 422, "image"},
    {IMAGE("0"), 422, "image"},
    {IMAGE("-1"), 422, "image"},
    {IMAGE("1001.5"), 422, "image"},
    {IMAGE("9007199254740993"), 422, "image"},
    {IMAGE("true"), 422, "image"},
    {IMAGE("{\"id\":1001}"), 422, "image"},
    {IMAGE("\"huge-x64\""), 422, "size"},
    /* tags */
    {WITH("\"tags\":\"web\""), 422, "tags"},
    {WITH("\"tags\":[1]"), 422, "tags"},
    {WITH("\"tags\":[null]"), 422, "tags"},
    {WITH("\"tags\":[\"\"]"), 422, "tags"},
    {WITH("\"tags\":[\"a b\"]"), 422, "tags"},
    {WITH("\"tags\":[\"a.b\"]"), 422, "tags"},
    {WITH("\"tags\":{\"a\":1}"), 422, "tags"},
    {WITH("\"tags\":[" TEN "," TEN "," TEN "," TEN "," TEN ",1]"), 422, "tags"},
    /* keys */
    {WITH("\"ssh_keys\":5"), 422, "ssh_keys"},
    {WITH("\"ssh_keys\":[0]"), 422, "ssh_keys"},
    {WITH("\"ssh_keys\":[-5]"), 422, "ssh_keys"},
    {WITH("\"ssh_keys\":[1.5]"), 422, "ssh_keys"},
    {WITH("\"ssh_keys\":[\"\"]"), 422, "ssh_keys"},
    {WITH("\"ssh_keys\":[\"mine\"]"), 422, "ssh_keys"},
    {WITH("\"ssh_keys\":[\"3b:16\"]"), 422, "ssh_keys"},
    {WITH("\"ssh_keys\":[null]"), 422, "ssh_keys"},
    {WITH("\"ssh_keys\":[{}]"), 422, "ssh_keys"},
    {WITH("\"ssh_keys\":[" HUNDRED ",1]"), 422, "ssh_keys"},
    /* the rest */
    {WITH("\"user_data\":5"), 422, "user_data"},
    {WITH("\"user_data\":[]"), 422, "user_data"},
    {WITH("\"volumes\":[\"x\"]"), 422, "volumes"},
    {WITH("\"volumes\":\"x\""), 422, "volumes"},
    {WITH("\"vpc_uuid\":\"5a4981aa-9653-4bd1-bef5-d6bff52042e4\""), 422, "vpc_uuid"},
    {WITH("\"vpc_uuid\":5"), 422, "vpc_uuid"},
    {WITH("\"backups\":\"yes\""), 422, "backups"},
    {WITH("\"backups\":1"), 422, "backups"},
    {WITH("\"ipv6\":\"\""), 422, "ipv6"},
    {WITH("\"monitoring\":[]"), 422, "monitoring"},
    {WITH("\"with_droplet_agent\":0"), 422, "with_droplet_agent"},
    {WITH("\"private_networking\":{}"), 422, "private_networking"},
    {WITH("\"public_networking\":\"no\""), 422, "public_networking"},
    {WITH("\"backup_policy\":\"daily\""), 422, "backup_policy"},
    /* of two that are the same the last one counts */
    {"{\"name\":\"a\",\"name\":\"b_\",\"size\":\"s-1\",\"image\":1001}", 422, "name"},
};

static void each_bad_body_is_refused_and_the_field_named(void **state)
{
    struct error err;

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        int status = status_of(refused[i].body, me, &err);
        if (status != refused[i].status || strstr(err.message, refused[i].says) == NULL)
            fail_msg("%s: %d \"%s\"", refused[i].body, status, err.message);
    }
    assert_true(ARRAY_LEN(refused) >= 60);
}

static void each_tolerated_body_is_taken(void **state)
{
    static const char *const taken[] = {
        NAMED("\"a\""),
        NAMED("\"-a\""), /* the published pattern allows it */
        NAMED("\"web-1.example.com\""),
        NAMES("[\"a\"]"),
        NAMES("[\"a\",\"a\"]"),
        IMAGE("1001"),
        IMAGE("\"1001\""),
        IMAGE("1003"),
        WITH("\"region\":\"nyc3\""),
        WITH("\"region\":\"nyc\""),
        WITH("\"region\":null"),
        WITH("\"ssh_keys\":null,\"tags\":null,\"volumes\":null,\"user_data\":null"),
        WITH("\"vpc_uuid\":null,\"firewall\":null,\"names\":null,\"backups\":null"),
        WITH("\"vpc_uuid\":\"\",\"user_data\":\"\",\"ssh_keys\":[],\"tags\":[],\"volumes\":[]"),
        WITH("\"ssh_keys\":[5,\"6\",\"3b:16:BF:e4:8b:00:8b:b8:59:8c:a9:d3:f0:19:45:fa\"]"),
        WITH("\"ssh_keys\":[" HUNDRED "]"),
        WITH("\"tags\":[\"a\",\"A\",\"b:c_d-e\"]"),
        WITH("\"backups\":true,\"ipv6\":\"true\",\"monitoring\":\"false\""),
        WITH("\"backup_policy\":{\"plan\":\"daily\"},\"unknown\":{\"a\":[1]}"),
        WITH("\"name\":\"b\",\"size\":\"s-2\",\"size\":\"s-1\""),
    };
    struct error err;

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(taken); i++)
        if (status_of(taken[i], me, &err) != 202)
            fail_msg("%s: %s", taken[i], err.message);
}

static void an_image_of_another_account_is_unknown(void **state)
{
    struct error err, unknown;

    UNUSED(state);
    assert_int_equal(status_of(IMAGE("1003"), me, &err), 202);
    assert_int_equal(status_of(IMAGE("1003"), other, &err), 422);
    assert_int_equal(status_of(IMAGE("1099"), other, &unknown), 422);
    assert_string_equal(err.message, "image: there is no image \"1003\".");
    assert_string_equal(unknown.message, "image: there is no image \"1099\".");
}

static void name_of_256_characters_is_refused(void **state)
{
    char name[258];

    UNUSED(state);
    memset(name, 'a', sizeof name);
    name[255] = 0;
    assert_true(create_is_name(name));
    name[255] = 'a';
    name[256] = 0;
    assert_false(create_is_name(name));
}

static void user_data_beyond_64_kib_is_refused_with_the_limit(void **state)
{
    size_t size = CREATE_USER_DATA + 1;
    char *data = malloc(size + 1), *body = NULL;
    struct error err;

    UNUSED(state);
    memset(data, 'x', size);
    data[size] = 0;
    assert_true(asprintf(&body, WITH("\"user_data\":\"%s\""), data) > 0);
    assert_int_equal(status_of(body, me, &err), 422);
    assert_non_null(strstr(err.message, "user_data must have at most 65536 bytes"));
    free(body);
    data[size - 1] = 0;
    assert_true(asprintf(&body, WITH("\"user_data\":\"%s\""), data) > 0);
    assert_int_equal(status_of(body, me, &err), 202);
    free(body);
    free(data);
}

static void nesting_of_10000_levels_is_refused(void **state)
{
    enum { LEVELS = 10000 };
    char *body = malloc(LEVELS + 1);
    struct error err;

    UNUSED(state);
    memset(body, '[', LEVELS);
    body[LEVELS] = 0;
    assert_int_equal(status_of(body, me, &err), 400);
    assert_non_null(strstr(err.message, "32 levels"));
    free(body);
}

static void same_tag_in_other_letters_is_kept_once(void **state)
{
    struct catalog *catalog = catalog_for_tests();
    struct create_order order;
    struct error err;
    json_t *json = NULL;
    const char *body = WITH("\"tags\":[\"Web\",\"web\",\"WEB\",\"db\"]");

    UNUSED(state);
    assert_int_equal(json_parse_object(body, strlen(body), &json, &err), 0);
    assert_int_equal(create_parse(json, catalog, me, 0, &order, &err), 0);
    assert_int_equal(order.tag_count, 2);
    assert_string_equal(order.tags[0], "Web");
    assert_string_equal(order.tags[1], "db");
    json_decref(json);
    catalog_unref(catalog);
}

static void prefix_of_a_region_chooses_among_the_available_ones(void **state)
{
    struct catalog *c = catalog_for_tests();

    UNUSED(state);
    assert_string_equal(catalog_choose_region(c, "nyc", 0)->slug, "nyc1");
    assert_string_equal(catalog_choose_region(c, "nyc", 1)->slug, "nyc3");
    assert_string_equal(catalog_choose_region(c, "", 2)->slug, "nyc3");
    assert_string_equal(catalog_choose_region(c, "sfo1", 0)->slug, "sfo1");
    assert_null(catalog_choose_region(c, "sfo", 0));
    catalog_unref(c);
}

static void what_the_catalogue_does_not_have_says_so(void **state)
{
    struct catalog *catalog = catalog_for_tests();
    struct create_order order;
    struct error err;
    json_t *json = NULL;
    const char *body = SIZE("\"s-brand-new\"");

    UNUSED(state);
    assert_int_equal(json_parse_object(body, strlen(body), &json, &err), 0);
    assert_int_equal(create_parse(json, catalog, me, 0, &order, &err), ERR_INVALID);
    assert_true(order.unknown);
    json_decref(json);
    catalog_unref(catalog);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_bad_body_is_refused_and_the_field_named),
        cmocka_unit_test(each_tolerated_body_is_taken),
        cmocka_unit_test(an_image_of_another_account_is_unknown),
        cmocka_unit_test(name_of_256_characters_is_refused),
        cmocka_unit_test(user_data_beyond_64_kib_is_refused_with_the_limit),
        cmocka_unit_test(nesting_of_10000_levels_is_refused),
        cmocka_unit_test(same_tag_in_other_letters_is_kept_once),
        cmocka_unit_test(prefix_of_a_region_chooses_among_the_available_ones),
        cmocka_unit_test(what_the_catalogue_does_not_have_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
