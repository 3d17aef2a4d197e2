/* lib/memory.h: memory or an abort, for daemons whose crash is a recovery that is tested. One that
 * cannot get a few hundred bytes is about to be killed anyway; what must outlive it is stored. */
#pragma once

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* `count` zeroed elements of `size` bytes; never NULL. */
static inline __attribute__((unused)) void *must_calloc(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size);
    if (!p)
        abort();
    return p;
}

/* Resizes to `count` elements of `size` bytes; what is new is not zeroed; never NULL. */
static inline __attribute__((unused)) void *must_resize(void *old, size_t count, size_t size)
{
    void *p = reallocarray(old, count ? count : 1, size);
    if (!p)
        abort();
    return p;
}

static inline __attribute__((unused)) char *must_strdup(const char *text)
{
    char *p = strdup(text);
    if (!p)
        abort();
    return p;
}
