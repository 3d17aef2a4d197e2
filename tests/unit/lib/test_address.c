#include "lib/address.h"

#include "tests/unit/lib/support.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

static void both_families_are_understood(void **state)
{
    struct sockaddr_storage at;
    socklen_t size;
    struct error err;

    UNUSED(state);
    assert_ok(address_parse("127.0.0.1:8080", &at, &size, &err), &err);
    assert_int_equal(((struct sockaddr_in *)&at)->sin_port, htons(8080));
    assert_int_equal(((struct sockaddr_in *)&at)->sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    assert_int_equal(size, sizeof(struct sockaddr_in));
    assert_ok(address_parse("[::1]:65535", &at, &size, &err), &err);
    assert_int_equal(((struct sockaddr_in6 *)&at)->sin6_port, htons(65535));
    assert_int_equal(size, sizeof(struct sockaddr_in6));
}

static void what_is_no_address_is_refused_by_name(void **state)
{
    static const char *const bad[] = {
        "",
        ":",
        "8080",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1: 1",
        "localhost:80",
        "::1:80",
        "[127.0.0.1]:80",
        "[::1:80",
        "127.0.0.1:80x",
        "127.0.0.1:123456",
        "1111111111111111111111111111111111111111111111111111111111111111111111111111:1",
    };
    struct sockaddr_storage at;
    socklen_t size;
    struct error err;

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(address_parse(bad[i], &at, &size, &err), ERR_INVALID);
        assert_has(err.message, "ADDRESS:PORT");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_families_are_understood),
        cmocka_unit_test(what_is_no_address_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
