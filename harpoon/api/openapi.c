#include "harpoon/api/openapi.h"

#include "harpoon/api/internal.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCHEMA "#/components/schemas/"

/* ---- parameters ---- */
static json_t *parameter(const char *name, size_t len, const char *in, bool required, bool number)
{
    json_t *schema = json_pack("{s:s}", "type", number ? "integer" : "string");

    if (number)
        json_object_set_new(schema, "minimum", json_integer(1));
    return json_pack("{s:s%, s:s, s:b, s:o}", "name", name, len, "in", in, "required",
                     (int)required, "schema", schema);
}

/* The {…} parts. `id` and `action` are numbers. */
static void add_path_parameters(json_t *list, const char *pattern)
{
    for (const char *p = strchr(pattern, '{'); p != NULL; p = strchr(p, '{')) {
        p++;
        size_t len = strcspn(p, "}");
        bool number = strncmp(p, "id}", 3) == 0 || strncmp(p, "action}", 7) == 0;
        json_array_append_new(list, parameter(p, len, "path", true, number));
    }
}

static void add_query_parameters(json_t *list, const char *query)
{
    while (query != NULL && *query != 0) {
        size_t len = strcspn(query, " "), bare = strcspn(query, " !");
        bool page = strncmp(query, "page", len) == 0 && len == 4;
        json_array_append_new(list, parameter(query, bare, "query", bare < len, page));
        if (page) {
            json_t *size = parameter("per_page", 8, "query", false, true);
            json_object_set_new(json_object_get(size, "schema"), "maximum", json_integer(200));
            json_array_append_new(list, size);
        }
        query += len;
        query += strspn(query, " ");
    }
}

/* ---- answers ---- */
static json_t *json_content(json_t *schema)
{
    return json_pack("{s:{s:o}}", "application/json", "schema", schema);
}

static bool has_pages(const struct route_words *w)
{
    return w->query != NULL && strncmp(w->query, "page", 4) == 0;
}

static json_t *success(const struct route_words *w)
{
    json_t *answer = json_pack("{s:s}", "description", w->status == 204 ? "Done" : w->summary);

    if (w->answer == NULL)
        return answer;
    json_t *schema = openapi_object(w->answer);
    if (has_pages(w)) {
        json_t *fields = json_object_get(schema, "properties");
        json_object_set_new(fields, "links", json_pack("{s:s}", "$ref", SCHEMA "Links"));
        json_object_set_new(fields, "meta", json_pack("{s:s}", "$ref", SCHEMA "Meta"));
        json_array_append_new(json_object_get(schema, "required"), json_string("links"));
        json_array_append_new(json_object_get(schema, "required"), json_string("meta"));
    }
    json_object_set_new(answer, "content", json_content(schema));
    return answer;
}

static void add_error(json_t *answers, const char *status, bool is)
{
    if (is)
        json_object_set_new(answers, status,
                            json_pack("{s:o}", "$ref",
                                      json_sprintf("#/components/responses/%s", status)));
}

static json_t *make_answers(const struct route *r)
{
    json_t *answers = json_object();
    bool body = (r->flags & ROUTE_BODY) != 0,
         required = r->words.query != NULL && strchr(r->words.query, '!') != NULL;
    char status[8];

    (void)snprintf(status, sizeof status, "%d", r->words.status);
    json_object_set_new(answers, status, success(&r->words));
    add_error(answers, "400", body);
    add_error(answers, "401", true);
    add_error(answers, "403", (r->flags & ROUTE_WRITES) != 0);
    add_error(answers, "404", strchr(r->pattern, '{') != NULL);
    add_error(answers, "422", body || required);
    add_error(answers, "429", true);
    add_error(answers, "503", true);
    return answers;
}

/* ---- operations ---- */
/* "get_droplets_id_actions". */
static json_t *operation_id(const struct route *r)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    if (out == NULL)
        return json_null();
    for (const char *p = r->method; *p != 0; p++)
        (void)fputc(tolower((unsigned char)*p), out);
    for (const char *p = r->pattern + strlen("/v2"); *p != 0; p++)
        if (*p != '{' && *p != '}')
            (void)fputc(isalnum((unsigned char)*p) ? *p : '_', out);
    (void)fclose(out);
    json_t *id = text != NULL ? json_string(text) : json_null();
    free(text);
    return id;
}

static json_t *make_operation(const struct route *r)
{
    json_t *parameters = json_array();
    json_t *operation =
        json_pack("{s:o, s:s, s:[s], s:o}", "operationId", operation_id(r), "summary",
                  r->words.summary, "tags", r->words.group, "responses", make_answers(r));

    add_path_parameters(parameters, r->pattern);
    add_query_parameters(parameters, r->words.query);
    if (json_array_size(parameters) > 0)
        json_object_set(operation, "parameters", parameters);
    json_decref(parameters);
    if ((r->flags & ROUTE_BODY) != 0)
        json_object_set_new(operation, "requestBody",
                            json_pack("{s:b, s:o}", "required", 1, "content",
                                      json_content(
                                          json_pack("{s:o}", "$ref",
                                                    json_sprintf(SCHEMA "%s", r->words.request)))));
    return operation;
}

static json_t *make_paths(const struct route *table, size_t count)
{
    json_t *paths = json_object();

    for (size_t i = 0; i < count; i++) {
        char method[8] = "";
        json_t *path = json_object_get(paths, table[i].pattern);
        if (path == NULL) {
            path = json_object();
            json_object_set_new(paths, table[i].pattern, path);
        }
        for (size_t k = 0; table[i].method[k] != 0 && k < sizeof method - 1; k++)
            method[k] = (char)tolower((unsigned char)table[i].method[k]);
        json_object_set_new(path, method, make_operation(&table[i]));
    }
    return paths;
}

/* ---- the document ---- */
static json_t *make_errors(void)
{
    static const struct {
        const char *status, *what;
    } errors[] = {
        {"400", "The body is no JSON object"},
        {"401", "The token is missing, unknown, expired or revoked"},
        {"403", "The token may only read"},
        {"404", "There is no such thing, or it is another account's"},
        {"422", "What is asked for cannot be done; the message says why"},
        {"429", "Too many requests; retry-after says when to try again"},
        {"503", "Not now; retry-after says when to try again"},
    };
    json_t *all = json_object();

    for (size_t i = 0; i < ARRAY_LEN(errors); i++)
        json_object_set_new(all, errors[i].status,
                            json_pack("{s:s, s:o}", "description", errors[i].what, "content",
                                      json_content(json_pack("{s:s}", "$ref", SCHEMA "Error"))));
    return all;
}

json_t *openapi_make(const struct route *table, size_t count)
{
    return json_pack("{s:s, s:{s:s, s:s, s:s}, s:[{s:s}], s:[{s:[]}], s:o, s:{s:o, s:o,"
                     " s:{s:{s:s, s:s}}}}",
                     "openapi", "3.1.0", "info", "title", "Harpoon", "version", HARPOON_VERSION,
                     "description", "Droplets, as DigitalOcean's v2 API speaks of them.", "servers",
                     "url", "/", "security", "token", "paths", make_paths(table, count),
                     "components", "schemas", openapi_schemas(), "responses", make_errors(),
                     "securitySchemes", "token", "type", "http", "scheme", "bearer");
}

void openapi_show(struct call *c)
{
    call_reply(c, 200, openapi_make(routes, route_count));
}
