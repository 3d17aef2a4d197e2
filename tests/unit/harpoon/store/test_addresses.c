#include "harpoon/store/addresses.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void network_gateway_and_broadcast_are_no_hosts(void **state)
{
    (void)state;
    assert_false(address_is_host(0x64400000));
    assert_false(address_is_host(0x64400001));
    assert_true(address_is_host(0x64400002));
    assert_true(address_is_host(0x64400FFE));
    assert_false(address_is_host(0x64400FFF));
    assert_false(address_is_host(0x64401000)); /* the next network's */
}

static void gateway_is_the_first_of_its_network(void **state)
{
    char text[ADDRESS_TEXT];

    (void)state;
    assert_string_equal(address_format(address_gateway(0x64401FFE), text), "100.64.16.1");
    assert_string_equal(address_format(0xFFFFFFFF, text), "255.255.255.255");
}

static void nothing_is_taken_that_was_not_reserved(void **state)
{
    struct addresses *a = NULL;
    struct error err;

    (void)state;
    assert_int_equal(addresses_new(16, &a, &err), 0);
    assert_int_equal(addresses_take(a, "nyc3", ADDRESS_PUBLIC), 0);
    addresses_put_back(a, "nyc3", ADDRESS_PUBLIC, 5); /* of a region that it never knew */
    assert_int_equal(addresses_take(a, "nyc3", ADDRESS_PUBLIC), 0);
    addresses_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(network_gateway_and_broadcast_are_no_hosts),
        cmocka_unit_test(gateway_is_the_first_of_its_network),
        cmocka_unit_test(nothing_is_taken_that_was_not_reserved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
