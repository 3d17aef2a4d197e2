#include "lib/log.h"

#include "lib/clock.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    LINE_MAX_BYTES = 8192,
    TAIL_ROOM = 24,        /* for `,"cut":true}` and the newline */
    VALUE_MAX_BYTES = 2048 /* of one text, before escaping */
};

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static char service_name[32] = "-";
static _Atomic int least_level = LOG_INFO;

struct line {
    char text[LINE_MAX_BYTES];
    size_t len;
    bool full;
};

static void put(struct line *l, const char *bytes, size_t n)
{
    if (l->full || n > sizeof l->text - TAIL_ROOM - l->len) {
        l->full = true;
        return;
    }
    memcpy(l->text + l->len, bytes, n);
    l->len += n;
}

static void put_text(struct line *l, const char *text)
{
    put(l, text, strlen(text));
}

/* The length of the well-formed UTF-8 character at `p`, 0: there is none. */
static size_t character_length(const unsigned char *p, size_t left)
{
    static const struct {
        unsigned char mask, lead, low, high;
        size_t length;
    } forms[] = {
        /* of the second byte: no overlong forms, no surrogates, nothing beyond U+10FFFF */
        {0xFF, 0xE0, 0xA0, 0xBF, 3}, {0xFF, 0xED, 0x80, 0x9F, 3}, {0xFF, 0xF0, 0x90, 0xBF, 4},
        {0xFF, 0xF4, 0x80, 0x8F, 4}, {0xE0, 0xC0, 0x80, 0xBF, 2}, {0xF0, 0xE0, 0x80, 0xBF, 3},
        {0xF8, 0xF0, 0x80, 0xBF, 4},
    };
    if (p[0] < 0x80)
        return 1;
    if (p[0] == 0xC0 || p[0] == 0xC1 || p[0] > 0xF4)
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        if ((p[0] & forms[i].mask) != forms[i].lead)
            continue;
        if (left < forms[i].length || p[1] < forms[i].low || p[1] > forms[i].high)
            return 0;
        for (size_t k = 2; k < forms[i].length; k++)
            if ((p[k] & 0xC0) != 0x80)
                return 0;
        return forms[i].length;
    }
    return 0;
}

static void put_escaped(struct line *l, unsigned char c)
{
    char text[8];

    switch (c) {
    case '"':
        put_text(l, "\\\"");
        return;
    case '\\':
        put_text(l, "\\\\");
        return;
    case '\n':
        put_text(l, "\\n");
        return;
    case '\t':
        put_text(l, "\\t");
        return;
    default:
        (void)snprintf(text, sizeof text, "\\u%04x", c);
        put_text(l, text);
    }
}

static void put_string(struct line *l, const char *text)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t left = strnlen(text, VALUE_MAX_BYTES);

    put_text(l, "\"");
    while (left > 0) {
        size_t n = character_length(p, left);
        if (n == 0)
            put_text(l, "\xEF\xBF\xBD"); /* U+FFFD: not UTF-8, or cut here */
        else if (n == 1 && (*p < 0x20 || *p == '"' || *p == '\\' || *p == 0x7F))
            put_escaped(l, *p);
        else
            put(l, (const char *)p, n);
        n = n == 0 ? 1 : n;
        p += n;
        left -= n;
    }
    put_text(l, "\"");
}

static void put_field(struct line *l, const struct log_field *f)
{
    char number[32];

    put_text(l, ",");
    put_string(l, f->name);
    put_text(l, ":");
    switch (f->kind) {
    case LOG_END:
        break;
    case LOG_U64:
        (void)snprintf(number, sizeof number, "%llu", (unsigned long long)f->u64);
        put_text(l, number);
        break;
    case LOG_I64:
        (void)snprintf(number, sizeof number, "%lld", (long long)f->i64);
        put_text(l, number);
        break;
    case LOG_STR:
        if (f->str != NULL)
            put_string(l, f->str);
        else
            put_text(l, "null");
        break;
    case LOG_BOOL:
        put_text(l, f->u64 != 0 ? "true" : "false");
        break;
    }
}

static void put_head(struct line *l, enum log_level level, const char *sentence)
{
    char at[21], millis[8];
    int64_t now = unix_ms();

    clock_format_rfc3339(now, at);
    (void)snprintf(millis, sizeof millis, ".%03dZ", (int)(now % 1000));
    put_text(l, "{\"time\":\"");
    put(l, at, 19);
    put_text(l, millis);
    put_text(l, "\",\"level\":\"");
    put_text(l, level_names[level]);
    put_text(l, "\",\"service\":");
    put_string(l, service_name);
    put_text(l, ",\"message\":");
    put_string(l, sentence);
}

void log_open(const char *service, enum log_level least)
{
    (void)snprintf(service_name, sizeof service_name, "%s", service);
    atomic_store(&least_level, (int)least);
}

int log_level_parse(const char *text, enum log_level *ret, struct error *err)
{
    for (size_t i = 0; i < ARRAY_LEN(level_names); i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *ret = (enum log_level)i;
            return 0;
        }
    }
    return error_set(err, ERR_INVALID, "\"%.40s\" is no log level: debug, info, warn or error",
                     text);
}

void log_write(enum log_level level, const char *sentence, const struct log_field *fields)
{
    if ((int)level < atomic_load_explicit(&least_level, memory_order_relaxed))
        return;
    struct line l;
    l.len = 0;
    l.full = false;
    put_head(&l, level, sentence);
    for (const struct log_field *f = fields; f->kind != LOG_END; f++) {
        size_t before = l.len;
        put_field(&l, f);
        if (l.full) { /* a field is whole or not there */
            l.len = before;
            break;
        }
    }
    const char *tail = l.full ? ",\"cut\":true}\n" : "}\n";
    memcpy(l.text + l.len, tail, strlen(tail));
    l.len += strlen(tail);
    while (write(STDERR_FILENO, l.text, l.len) < 0 && errno == EINTR)
        ;
}
