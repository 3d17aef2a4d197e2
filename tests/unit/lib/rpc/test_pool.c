#include "fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct rpc_pool *pool_of(const struct server *a, const struct server *b)
{
    struct error err;
    struct rpc_pool *p;
    char addresses[160];
    snprintf(addresses, sizeof(addresses), "%s%s%s", a->address, b ? ", " : "",
             b ? b->address : "");
    assert_int_equal(rpc_pool_new(addresses, fixture_tls("harpoon"), &p, &err), 0);
    return p;
}

/* Follows any answer that is another address. */
static const char *redirect(const ProtobufCMessage *out)
{
    return ((const Harpoon__Router__V1__SessionsReply *)out)->router;
}

static int ask_pool(struct rpc_pool *p, rpc_redirect_fn fn, char ret[64], struct error *err)
{
    Harpoon__Router__V1__SessionsRequest in = HARPOON__ROUTER__V1__SESSIONS_REQUEST__INIT;
    ProtobufCMessage *out;
    int r = rpc_pool_call(p, ROUTER, "Sessions", &in.base, soon(), fn, &out, err);
    if (r < 0)
        return r;
    snprintf(ret, 64, "%s", ((Harpoon__Router__V1__SessionsReply *)out)->router);
    protobuf_c_message_free_unpacked(out, NULL);
    return 0;
}

static void one_that_answers_is_asked_again(void **state)
{
    UNUSED(state);
    struct server a, b;
    struct error err;
    char router[64];
    server_start(&a, 0, NULL);
    server_start(&b, 0, NULL);
    struct rpc_pool *p = pool_of(&a, &b);
    for (int i = 0; i < 3; i++)
        assert_int_equal(ask_pool(p, NULL, router, &err), 0);
    assert_int_equal(server_count(&a, &a.sessions_calls), 3);
    assert_int_equal(server_count(&b, &b.sessions_calls), 0);
    rpc_pool_free(p);
    server_stop(&a, 0);
    server_stop(&b, 0);
}

static void next_is_tried_when_one_is_gone_and_remembered(void **state)
{
    UNUSED(state);
    struct server a, b;
    struct error err;
    char router[64];
    server_start(&a, 0, NULL);
    server_start(&b, 0, NULL);
    struct rpc_pool *p = pool_of(&a, &b);
    server_stop(&a, 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ask_pool(p, NULL, router, &err), 0);
        assert_string_equal(router, b.address);
    }
    assert_int_equal(server_count(&b, &b.sessions_calls), 3);
    rpc_pool_free(p);
    server_stop(&b, 0);
}

static void nobody_left_is_unavailable(void **state)
{
    UNUSED(state);
    struct server a, b;
    struct error err;
    char router[64];
    server_start(&a, 0, NULL);
    server_start(&b, 0, NULL);
    struct rpc_pool *p = pool_of(&a, &b);
    server_stop(&a, 0);
    server_stop(&b, 0);
    assert_int_equal(ask_pool(p, NULL, router, &err), ERR_UNAVAILABLE);
    rpc_pool_free(p);
}

static void refusal_is_final(void **state)
{
    UNUSED(state);
    struct server a, b;
    struct error err;
    ProtobufCMessage *out;
    Harpoon__Router__V1__RefsRequest in = HARPOON__ROUTER__V1__REFS_REQUEST__INIT;
    server_start(&a, 0, NULL);
    server_start(&b, 0, NULL);
    struct rpc_pool *p = pool_of(&a, &b);
    assert_int_equal(rpc_pool_call(p, ROUTER, "Begin", &in.base, soon(), NULL, &out, &err),
                     ERR_NO_CAPACITY);
    rpc_pool_free(p);
    server_stop(&a, 0);
    server_stop(&b, 0);
}

static void redirect_is_followed_to_an_address_not_in_the_list(void **state)
{
    UNUSED(state);
    struct server a, b;
    struct error err;
    char router[64];
    server_start(&a, 0, NULL);
    server_start(&b, 0, NULL);
    snprintf(a.answer, sizeof(a.answer), "%s", b.address);
    struct rpc_pool *p = pool_of(&a, NULL);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ask_pool(p, redirect, router, &err), 0);
        assert_string_equal(router, b.address);
    }
    assert_int_equal(server_count(&a, &a.sessions_calls), 1); /* it is remembered who answered */
    assert_int_equal(server_count(&b, &b.sessions_calls), 3);
    rpc_pool_free(p);
    server_stop(&a, 0);
    server_stop(&b, 0);
}

static void redirect_that_leads_to_nobody_comes_back_to_the_list(void **state)
{
    UNUSED(state);
    struct server a, b, gone;
    struct error err;
    char router[64];
    server_start(&a, 0, NULL);
    server_start(&b, 0, NULL);
    server_start(&gone, 0, NULL);
    server_stop(&gone, 0);
    snprintf(a.answer, sizeof(a.answer), "%s", gone.address);
    struct rpc_pool *p = pool_of(&a, &b);
    assert_int_equal(ask_pool(p, redirect, router, &err), 0);
    assert_string_equal(router, b.address);
    rpc_pool_free(p);
    server_stop(&a, 0);
    server_stop(&b, 0);
}

static void redirects_in_a_circle_end(void **state)
{
    UNUSED(state);
    struct server a, b;
    struct error err;
    char router[64];
    server_start(&a, 0, NULL);
    server_start(&b, 0, NULL);
    snprintf(a.answer, sizeof(a.answer), "%s", b.address);
    snprintf(b.answer, sizeof(b.answer), "%s", a.address);
    struct rpc_pool *p = pool_of(&a, &b);
    assert_int_equal(ask_pool(p, redirect, router, &err), 0);
    assert_int_equal(server_count(&a, &a.sessions_calls) + server_count(&b, &b.sessions_calls), 3);
    rpc_pool_free(p);
    server_stop(&a, 0);
    server_stop(&b, 0);
}

static void list_without_an_address_is_refused(void **state)
{
    UNUSED(state);
    struct error err;
    struct rpc_pool *p;
    assert_int_equal(rpc_pool_new(" , ", fixture_tls("harpoon"), &p, &err), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_answers_is_asked_again),
        cmocka_unit_test(next_is_tried_when_one_is_gone_and_remembered),
        cmocka_unit_test(nobody_left_is_unavailable),
        cmocka_unit_test(refusal_is_final),
        cmocka_unit_test(redirect_is_followed_to_an_address_not_in_the_list),
        cmocka_unit_test(redirect_that_leads_to_nobody_comes_back_to_the_list),
        cmocka_unit_test(redirects_in_a_circle_end),
        cmocka_unit_test(list_without_an_address_is_refused),
    };
    return cmocka_run_group_tests_name("rpc_pool", tests, fixture_setup, fixture_teardown);
}
