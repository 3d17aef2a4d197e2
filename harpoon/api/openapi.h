/* harpoon/api/openapi.h: the OpenAPI 3.1 document of the public API, made from the table of routes.
 * Pure. Threads: any.
 *
 * Fields are written "name type, name type". "name? type": it need not be there. A type is string,
 * integer, number, boolean, time, any, string(one|two) or a Schema; "type?" may be null; "[]type"
 * is an array, "{}type" an object with any keys. */
#pragma once

#include "harpoon/api/routes.h"

#include <jansson.h>
#include <stddef.h>

/* The document; the caller's. */
json_t *openapi_make(const struct route *table, size_t count);

/* ---- openapi_schemas.c ---- */
/* The schema of an object with `fields`. NULL: they are written wrongly. */
json_t *openapi_object(const char *fields);
/* components.schemas. */
json_t *openapi_schemas(void);
