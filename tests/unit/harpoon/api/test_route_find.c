#include "harpoon/api/routes.h"
#include "lib/macros.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

static const struct route table[] = {
    {"GET", "/v2/droplets", NULL, 0},
    {"POST", "/v2/droplets", NULL, 0},
    {"GET", "/v2/droplets/{id}", NULL, 0},
    {"DELETE", "/v2/droplets/{id}", NULL, 0},
    {"POST", "/v2/droplets/actions", NULL, 0},
    {"GET", "/v2/droplets/{id}/actions/{action}", NULL, 0},
    {"GET", "/v2/account/keys/{key}", NULL, 0},
};

struct found {
    struct route_match match;
    char buffer[256];
};

static enum route_outcome find(const char *method, const char *path, struct found *f)
{
    return route_find(table, ARRAY_LEN(table), method, path, f->buffer, &f->match);
}

static void path_and_method_choose_the_row(void **state)
{
    struct found f;

    UNUSED(state);
    assert_int_equal(find("POST", "/v2/droplets", &f), ROUTE_FOUND);
    assert_ptr_equal(f.match.route, &table[1]);
    assert_int_equal(find("GET", "/v2/droplets/17", &f), ROUTE_FOUND);
    assert_ptr_equal(f.match.route, &table[2]);
    assert_string_equal(f.match.arguments[0], "17");
    assert_int_equal(find("GET", "/v2/droplets/17/actions/18", &f), ROUTE_FOUND);
    assert_string_equal(f.match.arguments[0], "17");
    assert_string_equal(f.match.arguments[1], "18");
}

static void slash_at_the_end_does_not_matter(void **state)
{
    struct found f;

    UNUSED(state);
    assert_int_equal(find("POST", "/v2/droplets/", &f), ROUTE_FOUND);
    assert_ptr_equal(f.match.route, &table[1]);
    assert_int_equal(find("GET", "/v2/droplets/5/", &f), ROUTE_FOUND);
    assert_string_equal(f.match.arguments[0], "5");
}

static void literal_part_wins_over_an_argument(void **state)
{
    struct found f;

    UNUSED(state);
    assert_int_equal(find("POST", "/v2/droplets/actions", &f), ROUTE_FOUND);
    assert_ptr_equal(f.match.route, &table[4]);
    /* and is not a droplet called "actions" for the methods it lacks */
    assert_int_equal(find("DELETE", "/v2/droplets/actions", &f), ROUTE_NO_METHOD);
    assert_string_equal(f.match.allow, "POST");
}

static void parts_are_decoded_after_they_are_split(void **state)
{
    struct found f;

    UNUSED(state);
    assert_int_equal(find("GET", "/v2/account/keys/3b%3A16%3abf", &f), ROUTE_FOUND);
    assert_string_equal(f.match.arguments[0], "3b:16:bf");
    assert_int_equal(find("GET", "/v2/account/keys/a%2Fb", &f), ROUTE_FOUND);
    assert_string_equal(f.match.arguments[0], "a/b");
    assert_int_equal(find("GET", "/%76%32/droplets", &f), ROUTE_FOUND);
}

static void broken_paths_are_nowhere(void **state)
{
    static const char *const paths[] = {
        "",
        "/",
        "*",
        "v2/droplets",
        "/v2",
        "/v2//droplets",
        "//v2/droplets",
        "/v2/droplets//",
        "/v2/droplets/%",
        "/v2/droplets/%4",
        "/v2/droplets/%zz",
        "/v2/droplets/%00",
        "/v2/droplets/1%00",
        "/v2/droplets/1/2",
        "/v2/droplets/1/actions/2/3/4/5/6/7/8/9",
        "/V2/droplets",
        "/v2/../v2/droplets",
    };
    struct found f;

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        if (find("GET", paths[i], &f) != ROUTE_NO_PATH)
            fail_msg("%s", paths[i]);
}

static void unknown_method_tells_those_there_are(void **state)
{
    struct found f;

    UNUSED(state);
    assert_int_equal(find("PATCH", "/v2/droplets/5", &f), ROUTE_NO_METHOD);
    assert_string_equal(f.match.allow, "GET, DELETE");
    assert_int_equal(find("get", "/v2/droplets", &f), ROUTE_NO_METHOD);
}

static void head_is_answered_as_get(void **state)
{
    struct found f;

    UNUSED(state);
    assert_int_equal(find("HEAD", "/v2/droplets", &f), ROUTE_FOUND);
    assert_ptr_equal(f.match.route, &table[0]);
}

static void every_pattern_of_the_table_finds_its_row(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < route_count; i++) {
        struct found f;
        char path[128] = "";
        for (const char *p = routes[i].pattern; *p != 0; p++) {
            size_t n = strlen(path);
            assert_true(n + 2 < sizeof path);
            path[n] = *p == '{' ? '1' : *p;
            if (*p == '{')
                p += strcspn(p, "}");
        }
        assert_int_equal(route_find(routes, route_count, routes[i].method, path, f.buffer,
                                    &f.match),
                         ROUTE_FOUND);
        assert_ptr_equal(f.match.route, &routes[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(path_and_method_choose_the_row),
        cmocka_unit_test(slash_at_the_end_does_not_matter),
        cmocka_unit_test(literal_part_wins_over_an_argument),
        cmocka_unit_test(parts_are_decoded_after_they_are_split),
        cmocka_unit_test(broken_paths_are_nowhere),
        cmocka_unit_test(unknown_method_tells_those_there_are),
        cmocka_unit_test(head_is_answered_as_get),
        cmocka_unit_test(every_pattern_of_the_table_finds_its_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
