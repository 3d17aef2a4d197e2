/* harpoon/api/json.h: request bodies, read with patience where real clients need it and with limits
 * where an attacker would like none. Pure. Threads: any. */
#pragma once

#include "lib/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_DEPTH_MAX 32

static inline __attribute__((unused)) void auto_json_decref(json_t **j)
{
    json_decref(*j);
}

/* Reads an object. Of keys given twice the last one wins, unknown ones stay. *ret is the caller's
 * (json_decref). ERR_INVALID: not JSON, not an object, too deep, not UTF-8 or with NUL: the public
 * API answers 400. */
int json_parse_object(const void *body, size_t size, json_t **ret, struct error *err) MUST_CHECK;

/* The value of `key`, NULL when it is absent or null: clients send null for what they leave out. */
json_t *json_get_given(const json_t *object, const char *key);

/* Each gives 1 and *ret when given, 0 when absent or null, ERR_INVALID (naming the key) when it is
 * of another type. Text is borrowed from `object`. */
int json_get_text(const json_t *object, const char *key, const char **ret,
                  struct error *err) MUST_CHECK;
/* true, false, or the texts "true" and "false". */
int json_get_flag(const json_t *object, const char *key, bool *ret, struct error *err) MUST_CHECK;
int json_get_array(const json_t *object, const char *key, json_t **ret,
                   struct error *err) MUST_CHECK;

/* A number above 0, or a text of its decimal digits. False: neither. */
bool json_read_id(const json_t *value, uint64_t *ret);
/* The decimal digits of a number of 1..2^53-1. False: anything else. */
bool json_parse_id(const char *text, uint64_t *ret);

/* `text` for use inside a message: at most 48 bytes, printable ASCII, the rest as '?'. */
#define JSON_SHOWN 52
const char *json_show(const char *text, char ret[JSON_SHOWN]);
