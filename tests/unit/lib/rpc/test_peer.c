#include "lib/rpc/rpc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void every_role_has_its_uri(void **state)
{
    UNUSED(state);
    static const struct {
        const char *uri;
        enum rpc_role role;
    } rows[] = {
        {"spiffe://harpoon/role/harpoon", RPC_ROLE_HARPOON},
        {"spiffe://harpoon/role/scheduler", RPC_ROLE_SCHEDULER},
        {"spiffe://harpoon/role/eventrouter", RPC_ROLE_EVENTROUTER},
        {"spiffe://harpoon/role/operator", RPC_ROLE_OPERATOR},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err;
        struct rpc_peer peer;
        assert_int_equal(rpc_peer_parse(rows[i].uri, &peer, &err), 0);
        assert_int_equal(peer.role, rows[i].role);
        assert_string_equal(peer.name, rows[i].uri);
        assert_string_equal(peer.region, "");
    }
}

static void hypervisor_has_region_and_number(void **state)
{
    UNUSED(state);
    struct error err;
    struct rpc_peer peer;
    assert_int_equal(rpc_peer_parse("spiffe://harpoon/region/nyc3/hypervisor/9007199254740991",
                                    &peer, &err),
                     0);
    assert_int_equal(peer.role, RPC_ROLE_HYPERVISOR);
    assert_string_equal(peer.region, "nyc3");
    assert_int_equal(peer.hypervisor_id, (UINT64_C(1) << 53) - 1);
}

static void what_is_not_ours_is_refused_and_changes_nothing(void **state)
{
    UNUSED(state);
    static const char *const uris[] = {
        "",
        "spiffe://harpoon",
        "spiffe://harpoon/role/",
        "spiffe://harpoon/role/root",
        "spiffe://harpoon/role/harpoon/",
        "spiffe://harpoon/role/Harpoon",
        "SPIFFE://harpoon/role/harpoon",
        "spiffe://harpoon.example/role/harpoon",
        "https://harpoon/role/harpoon",
        " spiffe://harpoon/role/harpoon",
        "spiffe://harpoon/region//hypervisor/1",
        "spiffe://harpoon/region/NYC3/hypervisor/1",
        "spiffe://harpoon/region/ny/c3/hypervisor/1",
        "spiffe://harpoon/region/a234567890123456789012345678901x/hypervisor/1",
        "spiffe://harpoon/region/nyc3/hypervisor/",
        "spiffe://harpoon/region/nyc3/hypervisor/0",
        "spiffe://harpoon/region/nyc3/hypervisor/01",
        "spiffe://harpoon/region/nyc3/hypervisor/-1",
        "spiffe://harpoon/region/nyc3/hypervisor/+1",
        "spiffe://harpoon/region/nyc3/hypervisor/1 ",
        "spiffe://harpoon/region/nyc3/hypervisor/1/2",
        "spiffe://harpoon/region/nyc3/hypervisor/0x10",
        "spiffe://harpoon/region/nyc3/hypervisor/9007199254740992",
        "spiffe://harpoon/region/nyc3/hypervisor/99999999999999999999999999",
        "spiffe://harpoon/region/nyc3/host/1",
    };
    for (size_t i = 0; i < ARRAY_LEN(uris); i++) {
        struct error err;
        struct rpc_peer peer = {.role = RPC_ROLE_OPERATOR};
        assert_int_equal(rpc_peer_parse(uris[i], &peer, &err), ERR_INVALID);
        assert_int_equal(peer.role, RPC_ROLE_OPERATOR);
    }
}

static void uri_too_long_to_be_named_is_refused(void **state)
{
    UNUSED(state);
    struct error err;
    struct rpc_peer peer;
    char uri[300];
    memset(uri, 'a', sizeof(uri));
    memcpy(uri, "spiffe://harpoon/role/", 22);
    uri[sizeof(uri) - 1] = '\0';
    assert_int_equal(rpc_peer_parse(uri, &peer, &err), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_role_has_its_uri),
        cmocka_unit_test(hypervisor_has_region_and_number),
        cmocka_unit_test(what_is_not_ours_is_refused_and_changes_nothing),
        cmocka_unit_test(uri_too_long_to_be_named_is_refused),
    };
    return cmocka_run_group_tests_name("rpc_peer", tests, NULL, NULL);
}
