#include "harpoon/api/tagging.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#define DROPLET(id) "{\"resource_id\":" id ",\"resource_type\":\"droplet\"}"

static int parse(const char *text, droplet_id **ret, size_t *ret_count, struct error *err)
{
    json_t *body = json_loads(text, 0, NULL);

    assert_non_null(body);
    int r = tagging_parse(body, ret, ret_count, err);
    json_decref(body);
    return r;
}

static void droplets_are_sorted_and_named_once(void **state)
{
    droplet_id *ids = NULL;
    size_t count = 0;
    struct error err;

    UNUSED(state);
    assert_int_equal(parse("{\"resources\":[" DROPLET("\"9\"") "," DROPLET("7") "," DROPLET(
                               "\"9\"") "]}",
                           &ids, &count, &err),
                     0);
    assert_int_equal(count, 2);
    assert_int_equal(ids[0].v, 7);
    assert_int_equal(ids[1].v, 9);
    free(ids);
}

static void assert_refused(const char *text, int code)
{
    droplet_id *ids = NULL;
    size_t count = 0;
    struct error err;
    int r = parse(text, &ids, &count, &err);

    if (r != code)
        fail_msg("%s: %d", text, r);
    assert_null(ids);
}

static void what_is_written_wrongly_is_invalid(void **state)
{
    UNUSED(state);
    assert_refused("{}", ERR_INVALID);
    assert_refused("{\"resources\":null}", ERR_INVALID);
    assert_refused("{\"resources\":[]}", ERR_INVALID);
    assert_refused("{\"resources\":{}}", ERR_INVALID);
    assert_refused("{\"resources\":[7]}", ERR_INVALID);
    assert_refused("{\"resources\":[{\"resource_type\":\"droplet\"}]}", ERR_INVALID);
    assert_refused("{\"resources\":[{\"resource_id\":\"7\"}]}", ERR_INVALID);
    assert_refused("{\"resources\":[{\"resource_id\":true,\"resource_type\":\"droplet\"}]}",
                   ERR_INVALID);
    assert_refused("{\"resources\":[{\"resource_id\":\"7\",\"resource_type\":\"house\"}]}",
                   ERR_INVALID);
    assert_refused("{\"resources\":[" DROPLET("7") ",{}]}", ERR_INVALID);
}

static void what_nobody_has_is_not_found(void **state)
{
    UNUSED(state);
    assert_refused("{\"resources\":[" DROPLET("\"abc\"") "]}", ERR_NOT_FOUND);
    assert_refused("{\"resources\":[" DROPLET("0") "]}", ERR_NOT_FOUND);
    assert_refused("{\"resources\":[" DROPLET("-1") "]}", ERR_NOT_FOUND);
    assert_refused("{\"resources\":[{\"resource_id\":\"7\",\"resource_type\":\"volume\"}]}",
                   ERR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(droplets_are_sorted_and_named_once),
        cmocka_unit_test(what_is_written_wrongly_is_invalid),
        cmocka_unit_test(what_nobody_has_is_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
