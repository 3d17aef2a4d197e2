#include "harpoon/api/pages.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Digits only; too large a number is `most`. */
static uint32_t parse_within(const char *text, uint32_t otherwise, uint32_t most)
{
    uint64_t v = 0;
    const char *p = text;

    if (text == NULL || *text == 0)
        return otherwise;
    if (*p == '-' && p[1] != 0)
        p++;
    for (; *p != 0; p++) {
        if (*p < '0' || *p > '9')
            return otherwise;
        v = v * 10 + (uint64_t)(*p - '0');
        if (v > most)
            v = most;
    }
    return *text == '-' || v == 0 ? 1 : (uint32_t)v;
}

struct page page_parse(const char *number, const char *per_page)
{
    return (struct page){
        .number = parse_within(number, 1, PAGES_PAGE_MAX),
        .per_page = parse_within(per_page, PAGES_PER_PAGE_DEFAULT, PAGES_PER_PAGE_MAX),
    };
}

uint64_t page_offset(const struct page *p)
{
    return (uint64_t)(p->number - 1) * p->per_page;
}

size_t page_length(const struct page *p, uint64_t total)
{
    uint64_t before = page_offset(p);

    if (before >= total)
        return 0;
    return total - before < p->per_page ? (size_t)(total - before) : p->per_page;
}

static void add_link(json_t *pages, const char *key, uint64_t number, const char *base,
                     const char *query)
{
    char *url = NULL;

    if (asprintf(&url, "%s?%s%spage=%" PRIu64, base, query, *query != 0 ? "&" : "", number) < 0)
        return;
    json_object_set_new(pages, key, json_string(url));
    free(url);
}

json_t *page_links(const struct page *p, uint64_t total, const char *base, const char *query)
{
    json_t *links = json_object();
    uint64_t last = (total + p->per_page - 1) / p->per_page;

    if (last <= 1 && p->number == 1)
        return links;
    json_t *pages = json_object();
    if (last == 0)
        last = 1;
    if (p->number > 1) {
        add_link(pages, "first", 1, base, query);
        add_link(pages, "prev", p->number - 1 < last ? p->number - 1 : last, base, query);
    }
    if (p->number < last) {
        add_link(pages, "next", p->number + 1, base, query);
        add_link(pages, "last", last, base, query);
    }
    json_object_set_new(links, "pages", pages);
    return links;
}

char *page_encode(const char *text)
{
    static const char digits[] = "0123456789ABCDEF";
    char *ret = malloc(3 * strlen(text) + 1), *p = ret;

    if (ret == NULL)
        return NULL;
    for (; *text != 0; text++) {
        unsigned char c = (unsigned char)*text;
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
            strchr("-._~", c) != NULL) {
            *p++ = (char)c;
        } else {
            *p++ = '%';
            *p++ = digits[c >> 4];
            *p++ = digits[c & 15];
        }
    }
    *p = 0;
    return ret;
}
