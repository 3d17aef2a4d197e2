#include "fixture.h"
#include "lib/clock.h"
#include "tests/support/certificates.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* An agent's side of a stream. Its counters are guarded by the server's lock. */
struct agent {
    struct server *s;
    struct rpc_client *client;
    struct rpc_client_stream *stream;
    unsigned received, closed;
    uint32_t last_delay_ms; /* of the newest Drain */
    bool in_order;
    bool hold; /* on_message waits until it is false */
    struct error end;
};

static void agent_on_message(void *ctx, const ProtobufCMessage *in)
{
    struct agent *a = ctx;
    const Harpoon__Agent__V1__ToAgent *m = (const Harpoon__Agent__V1__ToAgent *)in;
    pthread_mutex_lock(&a->s->lock);
    while (a->hold)
        pthread_cond_wait(&a->s->changed, &a->s->lock);
    if (m->body_case == HARPOON__AGENT__V1__TO_AGENT__BODY_DRAIN) {
        if (m->drain->delay_ms != a->last_delay_ms + 1)
            a->in_order = false;
        a->last_delay_ms = m->drain->delay_ms;
    }
    a->received++;
    pthread_cond_broadcast(&a->s->changed);
    pthread_mutex_unlock(&a->s->lock);
}

static void agent_on_close(void *ctx, const struct error *err)
{
    struct agent *a = ctx;
    pthread_mutex_lock(&a->s->lock);
    a->end = *err;
    a->closed++;
    pthread_cond_broadcast(&a->s->changed);
    pthread_mutex_unlock(&a->s->lock);
}

static void agent_open(struct agent *a, struct server *s, size_t max_queued)
{
    struct error err;
    *a = (struct agent){.s = s, .in_order = true};
    const struct rpc_tls *tls = certificates_hypervisor(fixture_certificates(), "nyc3", 42);
    assert_int_equal(rpc_client_new(s->address, tls, &a->client, &err), 0);
    const struct rpc_client_stream_callbacks callbacks = {agent_on_message, agent_on_close, a};
    assert_int_equal(rpc_client_stream_open(a->client, GATEWAY, "Session", &callbacks, max_queued,
                                            &a->stream, &err),
                     0);
}

static void agent_free(struct agent *a)
{
    rpc_client_stream_free(a->stream);
    rpc_client_free(a->client);
}

static int agent_attach(struct agent *a, uint64_t session, const char *version, struct error *err)
{
    Harpoon__Agent__V1__FromAgent m = HARPOON__AGENT__V1__FROM_AGENT__INIT;
    Harpoon__Agent__V1__Attach attach = HARPOON__AGENT__V1__ATTACH__INIT;
    attach.session = session;
    attach.version = (char *)version;
    m.body_case = HARPOON__AGENT__V1__FROM_AGENT__BODY_ATTACH;
    m.attach = &attach;
    return rpc_client_stream_send(a->stream, &m.base, err);
}

static int server_send(struct server *s, uint32_t number, const char *address, struct error *err)
{
    Harpoon__Agent__V1__ToAgent m = HARPOON__AGENT__V1__TO_AGENT__INIT;
    Harpoon__Agent__V1__Drain drain = HARPOON__AGENT__V1__DRAIN__INIT;
    drain.delay_ms = number;
    drain.address = (char *)address;
    m.body_case = HARPOON__AGENT__V1__TO_AGENT__BODY_DRAIN;
    m.drain = &drain;
    return rpc_stream_send(s->stream, &m.base, err);
}

static char *large_text(void)
{
    enum { SIZE = 64 * 1024 };
    char *text = malloc(SIZE);
    assert_non_null(text);
    memset(text, 'x', SIZE - 1);
    text[SIZE - 1] = '\0';
    return text;
}

static void stream_knows_the_hypervisor_of_its_certificate(void **state)
{
    UNUSED(state);
    struct server s;
    struct agent a;
    server_start(&s, 0, NULL);
    agent_open(&a, &s, 0);
    server_wait(&s, &s.opened, 1);
    assert_int_equal(s.stream_peer.role, RPC_ROLE_HYPERVISOR);
    assert_int_equal(s.stream_peer.hypervisor_id, 42);
    assert_string_equal(s.stream_peer.region, "nyc3");
    rpc_client_stream_cancel(a.stream);
    server_wait(&s, &a.closed, 1);
    agent_free(&a);
    server_stop(&s, 1000);
}

static void messages_arrive_in_order_both_ways(void **state)
{
    UNUSED(state);
    enum { MESSAGES = 200 };
    struct server s;
    struct agent a;
    struct error err;
    server_start(&s, 0, NULL);
    agent_open(&a, &s, MESSAGES);
    server_wait(&s, &s.opened, 1);
    for (uint32_t i = 1; i <= MESSAGES; i++) {
        assert_int_equal(agent_attach(&a, i, "", &err), 0);
        assert_int_equal(server_send(&s, i, "", &err), 0);
        server_wait(&s, &a.received, i); /* its queue holds 4 */
    }
    server_wait(&s, &s.messages, MESSAGES);
    assert_int_equal(s.last_session, MESSAGES);
    assert_true(a.in_order);
    rpc_client_stream_cancel(a.stream);
    server_wait(&s, &s.closed, 1);
    server_wait(&s, &a.closed, 1);
    agent_free(&a);
    server_stop(&s, 1000);
}

static void full_queue_of_a_slow_agent_is_busy_and_loses_nothing(void **state)
{
    UNUSED(state);
    struct server s;
    struct agent a;
    struct error err;
    uint32_t sent = 0;
    char *text = large_text();
    server_start(&s, 0, NULL);
    agent_open(&a, &s, 0);
    server_wait(&s, &s.opened, 1);
    pthread_mutex_lock(&s.lock);
    a.hold = true;
    pthread_mutex_unlock(&s.lock);
    while (sent < 10000 && server_send(&s, sent + 1, text, &err) == 0)
        sent++;
    assert_int_equal(err.code, ERR_BUSY);
    assert_int_equal(rpc_stream_queued(s.stream), 5); /* 4, and one in flight */
    pthread_mutex_lock(&s.lock);
    a.hold = false;
    pthread_cond_broadcast(&s.changed);
    pthread_mutex_unlock(&s.lock);
    server_wait(&s, &a.received, sent);
    assert_true(a.in_order);
    rpc_client_stream_cancel(a.stream);
    server_wait(&s, &a.closed, 1);
    agent_free(&a);
    server_stop(&s, 1000);
    free(text);
}

static void full_queue_of_the_agent_is_busy(void **state)
{
    UNUSED(state);
    struct server s;
    struct agent a;
    struct error err = {0};
    uint64_t sent = 0;
    char *text = large_text();
    server_start(&s, 0, NULL);
    agent_open(&a, &s, 2);
    while (sent < 100000 && agent_attach(&a, sent + 1, text, &err) == 0)
        sent++;
    assert_int_equal(err.code, ERR_BUSY);
    server_wait(&s, &s.messages, (unsigned)sent);
    assert_int_equal(s.last_session, sent);
    rpc_client_stream_cancel(a.stream);
    server_wait(&s, &a.closed, 1);
    agent_free(&a);
    server_stop(&s, 1000);
    free(text);
}

static void finish_comes_behind_what_is_queued(void **state)
{
    UNUSED(state);
    struct server s;
    struct agent a;
    struct error err;
    server_start(&s, 0, NULL);
    agent_open(&a, &s, 0);
    server_wait(&s, &s.opened, 1);
    for (uint32_t i = 1; i <= 4; i++)
        assert_int_equal(server_send(&s, i, "", &err), 0);
    rpc_stream_finish(s.stream, &(struct error){ERR_CONFLICT, "a newer stream has come"});
    assert_int_equal(server_send(&s, 5, "", &err), ERR_UNAVAILABLE);
    server_wait(&s, &a.closed, 1);
    assert_int_equal(a.received, 4);
    assert_int_equal(a.end.code, ERR_CONFLICT);
    assert_string_equal(a.end.message, "a newer stream has come");
    server_wait(&s, &s.closed, 1);
    assert_int_equal(agent_attach(&a, 1, "", &err), ERR_UNAVAILABLE);
    agent_free(&a);
    server_stop(&s, 1000);
}

static void finish_without_an_error_ends_well(void **state)
{
    UNUSED(state);
    struct server s;
    struct agent a;
    server_start(&s, 0, NULL);
    agent_open(&a, &s, 0);
    server_wait(&s, &s.opened, 1);
    rpc_stream_finish(s.stream, NULL);
    rpc_stream_finish(s.stream, &(struct error){ERR_INTERNAL, "the second is not heard"});
    server_wait(&s, &a.closed, 1);
    assert_int_equal(a.end.code, 0);
    agent_free(&a);
    server_stop(&s, 1000);
}

static void end_that_is_not_taken_is_cut(void **state)
{
    UNUSED(state);
    struct server s;
    struct agent a;
    struct error err;
    uint32_t sent = 0;
    char *text = large_text();
    server_start(&s, 0, NULL);
    agent_open(&a, &s, 0);
    server_wait(&s, &s.opened, 1);
    pthread_mutex_lock(&s.lock);
    a.hold = true;
    pthread_mutex_unlock(&s.lock);
    while (sent < 10000 && server_send(&s, sent + 1, text, &err) == 0)
        sent++;
    rpc_stream_finish(s.stream, NULL);
    server_wait(&s, &s.closed, 1);
    pthread_mutex_lock(&s.lock);
    a.hold = false;
    pthread_cond_broadcast(&s.changed);
    pthread_mutex_unlock(&s.lock);
    server_wait(&s, &a.closed, 1);
    assert_int_not_equal(a.end.code, 0);
    agent_free(&a);
    server_stop(&s, 1000);
    free(text);
}

static void agent_that_hangs_up_closes_once(void **state)
{
    UNUSED(state);
    struct server s;
    struct agent a;
    struct error err;
    server_start(&s, 0, NULL);
    agent_open(&a, &s, 0);
    server_wait(&s, &s.opened, 1);
    rpc_client_stream_cancel(a.stream);
    server_wait(&s, &s.closed, 1);
    server_wait(&s, &a.closed, 1);
    assert_int_not_equal(a.end.code, 0);
    assert_int_equal(server_send(&s, 1, "", &err), ERR_UNAVAILABLE);
    s.rpc = rpc_server_stop(s.rpc, 1000);
    assert_int_equal(server_count(&s, &s.closed), 1);
    assert_int_equal(server_count(&s, &a.closed), 1);
    agent_free(&a);
    server_stop(&s, 0);
}

static void role_that_is_no_hypervisor_cannot_open_a_stream(void **state)
{
    UNUSED(state);
    struct server s;
    struct agent a = {.s = &s};
    struct error err;
    server_start(&s, 0, NULL);
    a.client = client_to(s.address, "harpoon");
    const struct rpc_client_stream_callbacks callbacks = {agent_on_message, agent_on_close, &a};
    assert_int_equal(rpc_client_stream_open(a.client, GATEWAY, "Session", &callbacks, 0, &a.stream,
                                            &err),
                     0);
    server_wait(&s, &a.closed, 1);
    assert_int_equal(a.end.code, ERR_FORBIDDEN);
    assert_int_equal(server_count(&s, &s.opened), 0);
    agent_free(&a);
    server_stop(&s, 1000);
}

static void stopping_server_closes_its_streams(void **state)
{
    UNUSED(state);
    enum { AGENTS = 20 };
    struct server s;
    struct agent a[AGENTS];
    server_start(&s, 0, NULL);
    for (int i = 0; i < AGENTS; i++)
        agent_open(&a[i], &s, 0);
    server_wait(&s, &s.opened, AGENTS);
    s.rpc = rpc_server_stop(s.rpc, 1);
    assert_int_equal(server_count(&s, &s.closed), AGENTS);
    for (int i = 0; i < AGENTS; i++) {
        server_wait(&s, &a[i].closed, 1);
        assert_int_equal(a[i].end.code, ERR_UNAVAILABLE);
        agent_free(&a[i]);
    }
    server_stop(&s, 0);
}

static void stream_to_nobody_closes(void **state)
{
    UNUSED(state);
    struct server s;
    struct agent a;
    server_start(&s, 0, NULL);
    s.rpc = rpc_server_stop(s.rpc, 0);
    agent_open(&a, &s, 0);
    server_wait(&s, &a.closed, 1);
    assert_int_equal(a.end.code, ERR_UNAVAILABLE);
    agent_free(&a);
    server_stop(&s, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stream_knows_the_hypervisor_of_its_certificate),
        cmocka_unit_test(messages_arrive_in_order_both_ways),
        cmocka_unit_test(full_queue_of_a_slow_agent_is_busy_and_loses_nothing),
        cmocka_unit_test(full_queue_of_the_agent_is_busy),
        cmocka_unit_test(finish_comes_behind_what_is_queued),
        cmocka_unit_test(finish_without_an_error_ends_well),
        cmocka_unit_test(end_that_is_not_taken_is_cut),
        cmocka_unit_test(agent_that_hangs_up_closes_once),
        cmocka_unit_test(role_that_is_no_hypervisor_cannot_open_a_stream),
        cmocka_unit_test(stopping_server_closes_its_streams),
        cmocka_unit_test(stream_to_nobody_closes),
    };
    return cmocka_run_group_tests_name("rpc_stream", tests, fixture_setup, fixture_teardown);
}
