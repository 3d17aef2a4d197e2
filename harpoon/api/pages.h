/* harpoon/api/pages.h: ?page= and ?per_page=, and the links of a page. Pure. Threads: any. */
#pragma once

#include "lib/error.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#define PAGES_PER_PAGE_DEFAULT 20
#define PAGES_PER_PAGE_MAX     200
#define PAGES_PAGE_MAX         100000000

struct page {
    uint32_t number;   /* 1.. */
    uint32_t per_page; /* 1..200 */
};

/* Of the texts of the two parameters (NULL: not given). What is out of range is moved into it, what
 * is no number counts as not given. */
struct page page_parse(const char *number, const char *per_page);
/* Items before it. */
uint64_t page_offset(const struct page *p);
/* The items of this page when there are `total`. */
size_t page_length(const struct page *p, uint64_t total);

/* `base` is scheme, host and path; `query` the other parameters, encoded, "" or "a=b&c=d". Gives an
 * object: {} when all fits on one page, else {"pages": {...}} with the keys that make sense. */
json_t *page_links(const struct page *p, uint64_t total, const char *base, const char *query);

/* Percent-encodes all but letters, digits and -._~ ; the caller frees. NULL: out of memory. */
char *page_encode(const char *text);
