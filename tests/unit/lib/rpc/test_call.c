#include "fixture.h"
#include "lib/clock.h"
#include "tests/support/certificates.h"

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static int call_router(struct rpc_client *c, const char *method, int64_t deadline_mono_ms,
                       struct error *err)
{
    Harpoon__Router__V1__DeliverRequest in = HARPOON__ROUTER__V1__DELIVER_REQUEST__INIT;
    ProtobufCMessage *out;
    int r = rpc_client_call(c, ROUTER, method, &in.base, deadline_mono_ms, &out, err);
    if (r == 0)
        protobuf_c_message_free_unpacked(out, NULL);
    return r;
}

static void call_is_answered_and_knows_its_peer(void **state)
{
    UNUSED(state);
    struct server s;
    struct error err;
    ProtobufCMessage *out;
    Harpoon__Router__V1__SessionsRequest in = HARPOON__ROUTER__V1__SESSIONS_REQUEST__INIT;
    server_start(&s, 0, NULL);
    struct rpc_client *c = client_to(s.address, "operator");
    assert_int_equal(rpc_client_call(c, ROUTER, "Sessions", &in.base, soon(), &out, &err), 0);
    Harpoon__Router__V1__SessionsReply *reply = (Harpoon__Router__V1__SessionsReply *)out;
    assert_string_equal(reply->router, s.answer);
    assert_string_equal(reply->region, "spiffe://harpoon/role/operator");
    protobuf_c_message_free_unpacked(out, NULL);
    rpc_client_free(c);
    server_stop(&s, 1000);
}

struct done {
    struct server *s;
    unsigned count;
    int code;
    char router[64];
};

static void on_done(void *ctx, const ProtobufCMessage *out, const struct error *err)
{
    struct done *d = ctx;
    pthread_mutex_lock(&d->s->lock);
    d->code = err->code;
    if (out)
        snprintf(d->router, sizeof(d->router), "%s",
                 ((const Harpoon__Router__V1__SessionsReply *)out)->router);
    d->count++;
    pthread_cond_broadcast(&d->s->changed);
    pthread_mutex_unlock(&d->s->lock);
}

static void many_calls_at_once_are_each_answered_once(void **state)
{
    UNUSED(state);
    enum { CALLS = 500 };
    struct server s;
    Harpoon__Router__V1__SessionsRequest in = HARPOON__ROUTER__V1__SESSIONS_REQUEST__INIT;
    server_start(&s, 0, NULL);
    struct rpc_client *c = client_to(s.address, "harpoon");
    struct done d = {.s = &s};
    for (int i = 0; i < CALLS; i++)
        rpc_client_call_async(c, ROUTER, "Sessions", &in.base, soon(), on_done, &d);
    server_wait(&s, &d.count, CALLS);
    assert_int_equal(d.count, CALLS);
    assert_int_equal(d.code, 0);
    assert_string_equal(d.router, s.answer);
    rpc_client_free(c);
    server_stop(&s, 1000);
}

static void failure_comes_with_code_and_words(void **state)
{
    UNUSED(state);
    struct server s;
    struct error err;
    server_start(&s, 0, NULL);
    struct rpc_client *c = client_to(s.address, "harpoon");
    assert_int_equal(call_router(c, "Begin", soon(), &err), ERR_NO_CAPACITY);
    assert_string_equal(err.message, "0 MiB left");
    rpc_client_free(c);
    server_stop(&s, 1000);
}

static void call_without_an_answer_ends_at_its_deadline(void **state)
{
    UNUSED(state);
    struct server s;
    struct error err;
    server_start(&s, 0, NULL);
    struct rpc_client *c = client_to(s.address, "harpoon");
    char router[64];
    assert_int_equal(ask_sessions(c, router, &err), 0); /* connected */
    int64_t deadline = mono_ms() + 200;
    assert_int_equal(call_router(c, "Deliver", deadline, &err), ERR_DEADLINE);
    struct rpc_call *held = server_take_held(&s);
    /* What the server saw is the caller's deadline, but for what clocks round. */
    assert_in_range(s.deadline_mono_ms, deadline - 100, deadline + 100);
    rpc_fail(held, &(struct error){ERR_BUSY, "too late"});
    rpc_client_free(c);
    server_stop(&s, 1000);
}

static void answer_may_come_from_another_thread(void **state)
{
    UNUSED(state);
    struct server s;
    Harpoon__Router__V1__DeliverRequest in = HARPOON__ROUTER__V1__DELIVER_REQUEST__INIT;
    Harpoon__Router__V1__DeliverReply out = HARPOON__ROUTER__V1__DELIVER_REPLY__INIT;
    server_start(&s, 0, NULL);
    struct rpc_client *c = client_to(s.address, "harpoon");
    struct done d = {.s = &s, .code = 1};
    rpc_client_call_async(c, ROUTER, "Deliver", &in.base, INT64_MAX, on_done, &d);
    struct rpc_call *held = server_take_held(&s);
    assert_true(rpc_call_deadline_mono_ms(held) == INT64_MAX);
    rpc_reply(held, &out.base);
    server_wait(&s, &d.count, 1);
    assert_int_equal(d.code, 0);
    rpc_client_free(c);
    server_stop(&s, 1000);
}

static void method_that_is_not_served_is_unknown(void **state)
{
    UNUSED(state);
    struct server s;
    struct error err;
    server_start(&s, 0, NULL);
    struct rpc_client *c = client_to(s.address, "harpoon");
    assert_int_equal(call_router(c, "Forget", soon(), &err), ERR_INTERNAL);
    assert_string_equal(err.message, "no such method");
    rpc_client_free(c);
    server_stop(&s, 1000);
}

static void role_that_is_not_allowed_is_refused_and_told_of(void **state)
{
    UNUSED(state);
    struct server s;
    struct error err;
    server_start(&s, 0, NULL);
    struct rpc_client *c = client_to(s.address, "scheduler");
    assert_int_equal(call_router(c, "Deliver", soon(), &err), ERR_FORBIDDEN);
    server_wait(&s, &s.denied, 1);
    assert_string_equal(s.denied_peer, "spiffe://harpoon/role/scheduler");
    assert_string_equal(s.denied_method, "Deliver");
    assert_null(s.held);
    rpc_client_free(c);
    server_stop(&s, 1000);
}

static void message_beyond_the_limit_is_refused(void **state)
{
    UNUSED(state);
    struct server s;
    struct error err;
    Harpoon__Router__V1__SessionsRequest in = HARPOON__ROUTER__V1__SESSIONS_REQUEST__INIT;
    ProtobufCMessage *out;
    server_start(&s, 0, NULL);
    struct rpc_client *c = client_to(s.address, "harpoon");
    in.region = malloc(300 * 1024);
    memset(in.region, 'x', 300 * 1024 - 1);
    in.region[300 * 1024 - 1] = '\0';
    assert_int_equal(rpc_client_call(c, ROUTER, "Sessions", &in.base, soon(), &out, &err),
                     ERR_BUSY);
    assert_int_equal(server_count(&s, &s.sessions_calls), 0);
    free(in.region);
    rpc_client_free(c);
    server_stop(&s, 1000);
}

/* ---- certificates ---- */

static void client_of_another_authority_is_refused(void **state)
{
    UNUSED(state);
    struct server s;
    struct error err;
    char router[64];
    struct rpc_client *c;
    struct certificates *others = certificates_new();
    server_start(&s, 0, NULL);
    struct rpc_tls tls = *certificates_role(others, "harpoon");
    tls.ca = fixture_tls("harpoon")->ca; /* it trusts the server */
    assert_int_equal(rpc_client_new(s.address, &tls, &c, &err), 0);
    assert_int_equal(ask_sessions(c, router, &err), ERR_UNAVAILABLE);
    assert_int_equal(server_count(&s, &s.sessions_calls), 0);
    rpc_client_free(c);
    server_stop(&s, 1000);
    certificates_free(others);
}

static void server_of_another_authority_is_not_trusted(void **state)
{
    UNUSED(state);
    struct server s;
    struct error err;
    char router[64];
    struct certificates *others = certificates_new();
    struct rpc_tls tls = *certificates_role(others, "eventrouter");
    tls.ca = fixture_tls("harpoon")->ca; /* it trusts the client */
    server_start(&s, 0, &tls);
    struct rpc_client *c = client_to(s.address, "harpoon");
    assert_int_equal(ask_sessions(c, router, &err), ERR_UNAVAILABLE);
    assert_int_equal(server_count(&s, &s.sessions_calls), 0);
    rpc_client_free(c);
    server_stop(&s, 1000);
    certificates_free(others);
}

static void hypervisor_cannot_pass_for_a_server(void **state)
{
    UNUSED(state);
    struct server s;
    struct error err;
    char router[64];
    server_start(&s, 0, certificates_hypervisor(fixture_certificates(), "nyc3", 666));
    struct rpc_client *c = client_to(s.address, "harpoon");
    assert_int_equal(ask_sessions(c, router, &err), ERR_UNAVAILABLE);
    assert_int_equal(server_count(&s, &s.sessions_calls), 0);
    rpc_client_free(c);
    server_stop(&s, 1000);
}

/* Whether a server says anything to who connects, with or without a certificate. */
static bool hears_something(int port, const struct rpc_tls *tls)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    static const unsigned char h2[] = "\2h2";
    char answer[64];
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    if (tls) {
        assert_int_equal(SSL_CTX_use_certificate_chain_file(ctx, tls->certificate), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey_file(ctx, tls->key, SSL_FILETYPE_PEM), 1);
    }
    SSL *ssl = SSL_new(ctx);
    SSL_set_alpn_protos(ssl, h2, 3);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    SSL_set_fd(ssl, fd);
    /* With TLS 1.3 the client's handshake ends before the server has looked: what it hears then is
     * the alert. */
    bool heard = SSL_connect(ssl) == 1 && SSL_write(ssl, preface, sizeof(preface) - 1) > 0 &&
                 SSL_read(ssl, answer, sizeof(answer)) > 0;
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    close(fd);
    return heard;
}

static void connection_without_a_certificate_hears_nothing(void **state)
{
    UNUSED(state);
    struct server s;
    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes to a connection that was closed */
    server_start(&s, 0, NULL);
    assert_true(hears_something(rpc_server_port(s.rpc), fixture_tls("harpoon")));
    assert_false(hears_something(rpc_server_port(s.rpc), NULL));
    server_stop(&s, 1000);
}

static void key_of_another_certificate_is_named(void **state)
{
    UNUSED(state);
    struct error err;
    struct rpc_client *c;
    struct rpc_tls tls = *fixture_tls("harpoon");
    tls.key = fixture_tls("scheduler")->key;
    assert_int_equal(rpc_client_new("127.0.0.1:1", &tls, &c, &err), ERR_INVALID);
    assert_non_null(strstr(err.message, "scheduler.key"));
    tls.key = "/nonexistent/key";
    assert_int_equal(rpc_client_new("127.0.0.1:1", &tls, &c, &err), ERR_INVALID);
    assert_non_null(strstr(err.message, "/nonexistent/key"));
}

/* ---- start and stop ---- */

static void port_in_use_is_refused(void **state)
{
    UNUSED(state);
    struct server s;
    struct error err;
    struct rpc_server *second;
    server_start(&s, 0, NULL);
    const struct rpc_server_options options = {.address = s.address,
                                               .tls = *fixture_tls("eventrouter")};
    assert_int_equal(rpc_server_start(&options, &second, &err), ERR_UNAVAILABLE);
    server_stop(&s, 0);
}

static void call_in_progress_is_cut_when_the_grace_is_over(void **state)
{
    UNUSED(state);
    struct server s;
    Harpoon__Router__V1__DeliverRequest in = HARPOON__ROUTER__V1__DELIVER_REQUEST__INIT;
    Harpoon__Router__V1__DeliverReply out = HARPOON__ROUTER__V1__DELIVER_REPLY__INIT;
    server_start(&s, 0, NULL);
    struct rpc_client *c = client_to(s.address, "harpoon");
    struct done d = {.s = &s};
    rpc_client_call_async(c, ROUTER, "Deliver", &in.base, soon(), on_done, &d);
    struct rpc_call *held = server_take_held(&s);
    s.rpc = rpc_server_stop(s.rpc, 1);
    server_wait(&s, &d.count, 1);
    assert_int_equal(d.code, ERR_UNAVAILABLE);
    rpc_reply(held, &out.base); /* after the server's end: harmless */
    rpc_client_free(c);
    server_stop(&s, 0);
}

static void client_comes_back_by_itself(void **state)
{
    UNUSED(state);
    struct server s;
    struct error err;
    char router[64];
    server_start(&s, 0, NULL);
    int port = rpc_server_port(s.rpc);
    struct rpc_client *c = client_to(s.address, "harpoon");
    assert_int_equal(ask_sessions(c, router, &err), 0);
    server_stop(&s, 0);
    assert_int_equal(ask_sessions(c, router, &err), ERR_UNAVAILABLE);
    server_start(&s, port, NULL);
    int64_t until = soon();
    while (ask_sessions(c, router, &err) < 0 && mono_ms() < until)
        clock_pause_ms(2);
    assert_int_equal(server_count(&s, &s.sessions_calls), 1);
    rpc_client_free(c);
    server_stop(&s, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(call_is_answered_and_knows_its_peer),
        cmocka_unit_test(many_calls_at_once_are_each_answered_once),
        cmocka_unit_test(failure_comes_with_code_and_words),
        cmocka_unit_test(call_without_an_answer_ends_at_its_deadline),
        cmocka_unit_test(answer_may_come_from_another_thread),
        cmocka_unit_test(method_that_is_not_served_is_unknown),
        cmocka_unit_test(role_that_is_not_allowed_is_refused_and_told_of),
        cmocka_unit_test(message_beyond_the_limit_is_refused),
        cmocka_unit_test(client_of_another_authority_is_refused),
        cmocka_unit_test(server_of_another_authority_is_not_trusted),
        cmocka_unit_test(hypervisor_cannot_pass_for_a_server),
        cmocka_unit_test(connection_without_a_certificate_hears_nothing),
        cmocka_unit_test(key_of_another_certificate_is_named),
        cmocka_unit_test(port_in_use_is_refused),
        cmocka_unit_test(call_in_progress_is_cut_when_the_grace_is_over),
        cmocka_unit_test(client_comes_back_by_itself),
    };
    return cmocka_run_group_tests_name("rpc_call", tests, fixture_setup, fixture_teardown);
}
