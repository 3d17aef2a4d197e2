/* harpoonctl/session.h: the options of one run, and the road to Harpoon's Admin service. */
#pragma once

#include "lib/config.h"
#include "lib/error.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

/* Of all verbs: each has some. */
struct ctl_options {
    char *api, *tls_ca, *tls_certificate, *tls_key, *output;
    int64_t timeout_s;
    char *state, *type, *region, *reason;
    int64_t limit, before;
    bool dry_run, all_new, yes_powered_off;
    char *email, *name, *expires;
    int64_t account, droplet_limit, after;
    bool read_only, no_rate_limit;
};

#define CTL_AT(field) offsetof(struct ctl_options, field)
#define CTL_TEXT(option, field, what, text)                                                        \
    {                                                                                              \
        .name = (option), .type = OPTION_STRING, .offset = CTL_AT(field), .metavar = (what),       \
        .help = (text)                                                                             \
    }
#define CTL_NEEDED(option, field, what, text)                                                      \
    {                                                                                              \
        .name = (option), .type = OPTION_STRING, .offset = CTL_AT(field), .required = true,        \
        .metavar = (what), .help = (text)                                                          \
    }
#define CTL_YES(option, field, text)                                                               \
    {                                                                                              \
        .name = (option), .type = OPTION_BOOL, .offset = CTL_AT(field), .help = (text)             \
    }
/* Of lists by ascending number. */
#define CTL_PAGE                                                                                   \
    {.name = "limit",                                                                              \
     .type = OPTION_INT,                                                                           \
     .offset = CTL_AT(limit),                                                                      \
     .default_value = "100",                                                                       \
     .min = 1,                                                                                     \
     .max = 1000,                                                                                  \
     .metavar = "N",                                                                               \
     .help = "So many at most."},                                                                  \
    {                                                                                              \
        .name = "after", .type = OPTION_INT, .offset = CTL_AT(after), .min = 0,                    \
        .max = INT64_C(9007199254740991), .metavar = "ID",                                         \
        .help = "Only those with a higher number: the next page."                                  \
    }
/* The rows that every verb ends with. */
#define CTL_COMMON                                                                                 \
    {.name = "output",                                                                             \
     .type = OPTION_STRING,                                                                        \
     .offset = CTL_AT(output),                                                                     \
     .default_value = "table",                                                                     \
     .choices = "table|json",                                                                      \
     .metavar = "FORM",                                                                            \
     .help = "A table for people, or JSON for programs."},                                         \
        CTL_TEXT("api", api, "ADDRESS",                                                            \
                 "Where `harpoon api` serves RPC; several, comma separated, are tried in turn."),  \
        CTL_TEXT("tls-ca", tls_ca, "FILE", "Certificate of the authority (PEM)."),                 \
        CTL_TEXT("tls-certificate", tls_certificate, "FILE", "An operator's certificate (PEM)."),  \
        CTL_TEXT("tls-key", tls_key, "FILE", "Its private key (PEM)."),                            \
    {                                                                                              \
        .name = "timeout-s", .type = OPTION_INT, .offset = CTL_AT(timeout_s),                      \
        .default_value = "10", .min = 1, .max = 3600, .metavar = "SECONDS",                        \
        .help = "How long to wait for the answer."                                                 \
    }

struct session;

/* `options` is borrowed. Does not connect yet. ERR_INVALID: an option is missing. */
int session_open(const struct ctl_options *options, struct session **ret,
                 struct error *err) MUST_CHECK;
struct session *session_close(struct session *s); /* NULL is fine; gives NULL */
const struct ctl_options *session_options(const struct session *s);
bool session_wants_json(const struct session *s);

/* Calls a method of Admin and waits. *ret is the caller's: session_free_answer(). */
int session_call(struct session *s, const char *method, const ProtobufCMessage *in,
                 ProtobufCMessage **ret, struct error *err) MUST_CHECK;
void session_free_answer(ProtobufCMessage *answer); /* NULL is fine */
