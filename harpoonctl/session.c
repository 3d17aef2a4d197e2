#include "harpoonctl/session.h"

#include "lib/clock.h"
#include "lib/rpc/rpc.h"
#include "proto/admin.pb-c.h"

#include <stdlib.h>
#include <string.h>

struct session {
    const struct ctl_options *options;
    struct rpc_pool *pool;
};

static int check_options(const struct ctl_options *o, struct error *err)
{
    const struct {
        const char *name, *value;
    } needed[] = {{"api", o->api},
                  {"tls-ca", o->tls_ca},
                  {"tls-certificate", o->tls_certificate},
                  {"tls-key", o->tls_key}};

    for (size_t i = 0; i < ARRAY_LEN(needed); i++)
        if (needed[i].value == NULL || needed[i].value[0] == 0)
            return error_set(err, ERR_INVALID,
                             "--%s is missing: give it, or name a file that has it in "
                             "HARPOON_CTL_CONFIG",
                             needed[i].name);
    return 0;
}

int session_open(const struct ctl_options *options, struct session **ret, struct error *err)
{
    const struct rpc_tls tls = {options->tls_ca, options->tls_certificate, options->tls_key};
    int r = check_options(options, err);

    if (r < 0)
        return r;
    struct session *s = calloc(1, sizeof *s);
    if (s == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    rpc_library_init();
    s->options = options;
    r = rpc_pool_new(options->api, &tls, &s->pool, err);
    if (r < 0)
        session_close(s);
    else
        *ret = s;
    return r;
}

struct session *session_close(struct session *s)
{
    if (s == NULL)
        return NULL;
    rpc_pool_free(s->pool);
    rpc_library_fini();
    free(s);
    return NULL;
}

const struct ctl_options *session_options(const struct session *s)
{
    return s->options;
}

bool session_wants_json(const struct session *s)
{
    return strcmp(s->options->output, "json") == 0;
}

int session_call(struct session *s, const char *method, const ProtobufCMessage *in,
                 ProtobufCMessage **ret, struct error *err)
{
    int64_t deadline_ms = mono_ms() + s->options->timeout_s * 1000;

    return rpc_pool_call(s->pool, &harpoon__admin__v1__admin__descriptor, method, in, deadline_ms,
                         NULL, ret, err);
}

void session_free_answer(ProtobufCMessage *answer)
{
    if (answer != NULL)
        protobuf_c_message_free_unpacked(answer, NULL);
}
