#include "lib/http/internal.h"

#include <stdlib.h>
#include <string.h>

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Decodes in place; what is no escape stays as it is. -1: it holds a zero byte. */
static int decode(char *text)
{
    char *out = text;

    for (const char *p = text; *p != 0; p++) {
        int high = *p == '%' ? hex_value(p[1]) : -1;
        int low = high >= 0 ? hex_value(p[2]) : -1;
        if (low < 0) {
            *out++ = *p == '+' ? ' ' : *p;
            continue;
        }
        if (high == 0 && low == 0)
            return -1;
        *out++ = (char)(high << 4 | low);
        p += 2;
    }
    *out = 0;
    return 0;
}

static size_t count_parts(const char *text)
{
    size_t n = 1;

    for (; *text != 0; text++)
        n += *text == '&';
    return n;
}

static int split(struct http_pairs *p, struct error *err)
{
    char *rest = p->text;

    for (char *part = strsep(&rest, "&"); part != NULL; part = strsep(&rest, "&")) {
        if (*part == 0)
            continue;
        char *value = strchr(part, '=');
        if (value != NULL)
            *value++ = 0;
        if (decode(part) < 0 || (value != NULL && decode(value) < 0))
            return error_set(err, ERR_INVALID, "the query has a zero byte");
        p->items[p->count++] = (struct http_pair){part, value != NULL ? value : ""};
    }
    return 0;
}

int http_query_parse(const char *text, struct http_pairs *ret, struct error *err)
{
    struct http_pairs p = {0};
    size_t parts = count_parts(text);

    if (parts > HTTP_MAX_FIELDS)
        return error_set(err, ERR_INVALID, "the query has more than %d parameters",
                         HTTP_MAX_FIELDS);
    p.text = strdup(text);
    p.items = calloc(parts, sizeof *p.items);
    int r = p.text == NULL || p.items == NULL ? error_set(err, ERR_INTERNAL, "out of memory")
                                              : split(&p, err);
    if (r < 0)
        http_pairs_fini(&p);
    else
        *ret = p;
    return r;
}

void http_pairs_fini(struct http_pairs *p)
{
    free(p->items);
    free(p->text);
    *p = (struct http_pairs){0};
}

const char *http_query(const struct http_request *r, const char *name)
{
    for (size_t i = 0; i < r->query.count; i++)
        if (strcmp(r->query.items[i].name, name) == 0)
            return r->query.items[i].value;
    return NULL;
}

void http_query_each(const struct http_request *r,
                     void (*fn)(void *ctx, const char *name, const char *value), void *ctx)
{
    for (size_t i = 0; i < r->query.count; i++)
        fn(ctx, r->query.items[i].name, r->query.items[i].value);
}
