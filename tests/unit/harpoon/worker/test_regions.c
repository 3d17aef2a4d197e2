#include "harpoon/worker/regions.h"
#include "lib/macros.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void each_region_has_its_routers_in_the_order_given(void **unused)
{
    UNUSED(unused);
    struct region_list list;
    struct error err;
    assert_int_equal(regions_parse("nyc3,ams-3",
                                   "sfo1=10.0.0.9:1,ams-3=10.0.0.3:7,"
                                   "nyc3=10.0.0.1:7|10.0.0.2:7",
                                   &list, &err),
                     0);
    assert_int_equal(list.count, 2);
    assert_string_equal(list.regions[0].slug, "nyc3");
    assert_int_equal(list.regions[0].router_count, 2);
    assert_string_equal(list.regions[0].routers[0], "10.0.0.1:7");
    assert_string_equal(list.regions[0].routers[1], "10.0.0.2:7");
    assert_string_equal(list.regions[1].slug, "ams-3");
    assert_int_equal(list.regions[1].router_count, 1);
    regions_free(&list);
    assert_int_equal(list.count, 0);
}

static void what_is_wrong_is_refused_and_named(void **unused)
{
    UNUSED(unused);
    static const struct {
        const char *regions, *routers, *says;
    } cases[] = {
        {NULL, "a=1:1", "--regions"},
        {"nyc3", NULL, "--routers"},
        {"", "a=1:1", "not a slug"},
        {"nyc3,", "nyc3=1:1", "not a slug"},
        {"NYC3", "nyc3=1:1", "\"NYC3\""},
        {"nyc3/x", "nyc3=1:1", "not a slug"},
        {"a-region-whose-name-is-much-too-long", "a=1:1", "not a slug"},
        {"nyc3,nyc3", "nyc3=1:1", "named twice"},
        {"nyc3", "ams3=1:1", "none of region nyc3"},
        {"nyc3", "nyc3", "REGION=ADDRESS"},
        {"nyc3", "nyc3=", "empty address"},
        {"nyc3", "nyc3=1:1||1:2", "empty address"},
        {"nyc3", "nyc3=1:1,nyc3=1:2", "named twice"},
        {"nyc3", "nyc3=1|2|3|4|5|6|7|8|9|10|11|12|13|14|15|16|17", "more than 16"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct region_list list;
        struct error err;
        int r = regions_parse(cases[i].regions, cases[i].routers, &list, &err);
        assert_int_equal(r, ERR_INVALID);
        if (strstr(err.message, cases[i].says) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", err.message, cases[i].says);
    }
}

static void more_regions_than_there_is_room_for_are_refused(void **unused)
{
    UNUSED(unused);
    char slugs[1024] = "r0";
    struct region_list list;
    struct error err;
    for (int i = 1; i <= REGIONS_MAX; i++)
        (void)snprintf(slugs + strlen(slugs), sizeof slugs - strlen(slugs), ",r%d", i);
    assert_int_equal(regions_parse(slugs, "r0=1:1", &list, &err), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_region_has_its_routers_in_the_order_given),
        cmocka_unit_test(what_is_wrong_is_refused_and_named),
        cmocka_unit_test(more_regions_than_there_is_room_for_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
