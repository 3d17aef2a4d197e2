/* harpoon/api/routes.h: which function answers which request. The table is the whole surface of the
 * public API. Matching is pure. Threads: any. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct call;

#define ROUTE_SEGMENTS_MAX  8
#define ROUTE_ARGUMENTS_MAX 3

enum route_flags {
    ROUTE_WRITES = 1, /* refused to a read-only token */
    ROUTE_READS = 2,  /* runs on the reader's thread, which may ask the database */
    ROUTE_BODY = 4,   /* its body is a JSON object, parsed before the handler runs */
};

/* What the OpenAPI document tells of a row; fields and types are written as openapi.h says. */
struct route_words {
    const char *summary;
    const char *group;
    int status;          /* of success */
    const char *answer;  /* the fields of its object; NULL: no body */
    const char *query;   /* names of parameters; "page" stands for page and per_page, and adds links
                            and meta to the answer. NULL: none */
    const char *request; /* name of the body's schema, of ROUTE_BODY only */
};

struct route {
    const char *method;
    const char *pattern; /* "/v2/droplets/{id}": also its name in metrics */
    void (*handler)(struct call *c);
    unsigned flags;
    struct route_words words;
};

extern const struct route routes[];
extern const size_t route_count;

enum route_outcome { ROUTE_FOUND, ROUTE_NO_PATH, ROUTE_NO_METHOD };

struct route_match {
    const struct route *route;
    const char *arguments[ROUTE_ARGUMENTS_MAX]; /* the decoded {…} parts, in `buffer` */
    char allow[48];                             /* of ROUTE_NO_METHOD: the methods there are */
};

/* `path` as sent, without the query; a slash at its end does not matter. `buffer` holds at least
 * strlen(path) + 1 bytes and lives as long as the match. A literal part wins over {…}. */
enum route_outcome route_find(const struct route *table, size_t count, const char *method,
                              const char *path, char *buffer, struct route_match *ret);
