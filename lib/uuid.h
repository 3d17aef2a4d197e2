/* lib/uuid.h: UUIDs as 16 bytes and as 36 characters. */
#pragma once

#include "lib/error.h"

#include <stdbool.h>
#include <stdint.h>

struct uuid {
    uint8_t b[16];
};
#define UUID_TEXT 37 /* characters with the final NUL */

void uuid_make_random(struct uuid *ret); /* version 4 */
void uuid_make_named(const struct uuid *space, const void *name, size_t len,
                     struct uuid *ret); /* version 5 */
void uuid_format(const struct uuid *u, char ret[UUID_TEXT]);
int uuid_parse(const char *text, struct uuid *ret, struct error *err) MUST_CHECK; /* ERR_INVALID */
bool uuid_equal(const struct uuid *a, const struct uuid *b);
bool uuid_is_zero(const struct uuid *u);
