/* lib/log.h: one JSON object a line on stderr. A constant sentence and fields with one name
 * everywhere. log_info("event dispatched", F_EVENT(ev->id.v), F_ATTEMPT(ev->attempt),
 * F_MS("took_ms", took)); No tokens, no user data. Threads: any. */
#pragma once

#include "lib/error.h"

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_kind { LOG_END, LOG_U64, LOG_I64, LOG_STR, LOG_BOOL };

struct log_field {
    enum log_kind kind;
    const char *name;
    uint64_t u64;
    int64_t i64;
    const char *str;
};

#define F_U64(n, v)     ((struct log_field){.kind = LOG_U64, .name = (n), .u64 = (v)})
#define F_I64(n, v)     ((struct log_field){.kind = LOG_I64, .name = (n), .i64 = (v)})
#define F_STR(n, v)     ((struct log_field){.kind = LOG_STR, .name = (n), .str = (v)})
#define F_BOOL(n, v)    ((struct log_field){.kind = LOG_BOOL, .name = (n), .u64 = (v)})
#define F_MS(n, v)      F_I64(n, v)
#define F_EVENT(v)      F_U64("event_id", v)
#define F_DROPLET(v)    F_U64("droplet_id", v)
#define F_HYPERVISOR(v) F_U64("hypervisor_id", v)
#define F_ATTEMPT(v)    F_U64("attempt", v)
#define F_REGION(v)     F_STR("region", v)
#define F_PEER(v)       F_STR("peer", v)
#define F_ERROR(e)      F_STR("error", (e)->message)

/* `service` is the daemon's name in each line (copied); lines below `least` are not written. */
void log_open(const char *service, enum log_level least);
/* 0, or ERR_INVALID: not one of debug, info, warn, error. */
int log_level_parse(const char *text, enum log_level *ret, struct error *err) MUST_CHECK;
void log_write(enum log_level level, const char *sentence, const struct log_field *fields);

#define LOG_(level, sentence, ...)                                                                 \
    log_write(level, sentence,                                                                     \
              (const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){.kind = LOG_END}})
#define log_debug(...) LOG_(LOG_DEBUG, __VA_ARGS__)
#define log_info(...)  LOG_(LOG_INFO, __VA_ARGS__)
#define log_warn(...)  LOG_(LOG_WARN, __VA_ARGS__)
#define log_error(...) LOG_(LOG_ERROR, __VA_ARGS__)
