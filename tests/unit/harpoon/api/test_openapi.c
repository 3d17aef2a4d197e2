#include "harpoon/api/openapi.h"
#include "lib/macros.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static json_t *document;

static int make_document(void **state)
{
    UNUSED(state);
    document = openapi_make(routes, route_count);
    return document == NULL;
}

static int free_document(void **state)
{
    UNUSED(state);
    json_decref(document);
    return 0;
}

static json_t *find_operation(const struct route *r)
{
    char method[8] = "";

    for (size_t i = 0; r->method[i] != 0; i++)
        method[i] = (char)tolower((unsigned char)r->method[i]);
    return json_object_get(json_object_get(json_object_get(document, "paths"), r->pattern), method);
}

static void every_route_is_in_the_document_and_nothing_else(void **state)
{
    size_t operations = 0;
    const char *path, *method;
    json_t *item, *operation;

    UNUSED(state);
    for (size_t i = 0; i < route_count; i++)
        if (find_operation(&routes[i]) == NULL)
            fail_msg("%s %s", routes[i].method, routes[i].pattern);
    json_object_foreach(json_object_get(document, "paths"), path, item)
        json_object_foreach(item, method, operation) operations++;
    assert_int_equal(operations, route_count);
}

static void every_route_has_its_words(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < route_count; i++) {
        const struct route_words *w = &routes[i].words;
        if (w->summary == NULL || w->group == NULL || w->status < 200 || w->status > 299)
            fail_msg("%s %s", routes[i].method, routes[i].pattern);
        if ((w->status == 204) != (w->answer == NULL))
            fail_msg("%s %s: 204 and a body", routes[i].method, routes[i].pattern);
        if ((w->request != NULL) != ((routes[i].flags & ROUTE_BODY) != 0))
            fail_msg("%s %s: the body's schema", routes[i].method, routes[i].pattern);
    }
}

static void check_references(const json_t *value)
{
    static const char prefix[] = "#/components/";
    const char *key, *target = json_string_value(json_object_get(value, "$ref"));
    json_t *item;
    size_t i;

    if (target != NULL) {
        char folder[32] = "";
        assert_int_equal(strncmp(target, prefix, strlen(prefix)), 0);
        target += strlen(prefix);
        size_t len = strcspn(target, "/");
        assert_true(len < sizeof folder);
        memcpy(folder, target, len);
        const json_t *all = json_object_get(json_object_get(document, "components"), folder);
        if (json_object_get(all, target + len + 1) == NULL)
            fail_msg("nothing is called %s", target);
    }
    json_object_foreach((json_t *)(uintptr_t)value, key, item) check_references(item);
    json_array_foreach(value, i, item) check_references(item);
}

static void every_reference_leads_somewhere(void **state)
{
    UNUSED(state);
    check_references(document);
}

static void every_schema_is_written_well(void **state)
{
    const char *name;
    json_t *schema, *schemas = openapi_schemas();

    UNUSED(state);
    json_object_foreach(schemas, name, schema) assert_true(json_is_object(schema));
    assert_true(json_object_size(schemas) > 20);
    json_decref(schemas);
    for (size_t i = 0; i < route_count; i++) {
        schema = openapi_object(routes[i].words.answer != NULL ? routes[i].words.answer : "");
        if (schema == NULL)
            fail_msg("%s %s", routes[i].method, routes[i].pattern);
        json_decref(schema);
    }
}

static void operations_have_names_of_their_own(void **state)
{
    json_t *names = json_object();

    UNUSED(state);
    for (size_t i = 0; i < route_count; i++) {
        const char *id =
            json_string_value(json_object_get(find_operation(&routes[i]), "operationId"));
        assert_non_null(id);
        json_object_set_new(names, id, json_true());
    }
    assert_int_equal(json_object_size(names), route_count);
    json_decref(names);
}

static void every_part_of_a_path_is_a_parameter(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < route_count; i++) {
        json_t *parameter;
        size_t k, in_path = 0, parts = 0;
        json_array_foreach(json_object_get(find_operation(&routes[i]), "parameters"), k, parameter)
            in_path += strcmp(json_string_value(json_object_get(parameter, "in")), "path") == 0;
        for (const char *p = routes[i].pattern; *p != 0; p++)
            parts += *p == '{';
        assert_int_equal(in_path, parts);
    }
}

static void assert_object(const char *fields, const char *expected)
{
    json_t *schema = openapi_object(fields);

    assert_non_null(schema);
    char *text = json_dumps(schema, JSON_COMPACT | JSON_SORT_KEYS);
    assert_string_equal(text, expected);
    free(text);
    json_decref(schema);
}

static void fields_become_a_schema(void **state)
{
    UNUSED(state);
    assert_object("", "{\"properties\":{},\"type\":\"object\"}");
    assert_object("a integer, b? []string",
                  "{\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"items\":{\"type\":"
                  "\"string\"},\"type\":\"array\"}},\"required\":[\"a\"],\"type\":\"object\"}");
    assert_object("a {}Tag",
                  "{\"properties\":{\"a\":{\"additionalProperties\":{\"$ref\":\"#/components/"
                  "schemas/Tag\"},\"type\":\"object\"}},\"required\":[\"a\"],\"type\":"
                  "\"object\"}");
    assert_object("a string(x|y)?",
                  "{\"properties\":{\"a\":{\"anyOf\":[{\"enum\":[\"x\",\"y\"],\"type\":"
                  "\"string\"},{\"type\":\"null\"}]}},\"required\":[\"a\"],\"type\":\"object\"}");
}

static void fields_written_wrongly_give_none(void **state)
{
    static const char *const wrong[] = {"a",        "a ",         "a strange", "a integers",
                                        "A string", "a string b", " a string", "a []"};

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        if (openapi_object(wrong[i]) != NULL)
            fail_msg("\"%s\"", wrong[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_route_is_in_the_document_and_nothing_else),
        cmocka_unit_test(every_route_has_its_words),
        cmocka_unit_test(every_reference_leads_somewhere),
        cmocka_unit_test(every_schema_is_written_well),
        cmocka_unit_test(operations_have_names_of_their_own),
        cmocka_unit_test(every_part_of_a_path_is_a_parameter),
        cmocka_unit_test(fields_become_a_schema),
        cmocka_unit_test(fields_written_wrongly_give_none),
    };
    return cmocka_run_group_tests(tests, make_document, free_document);
}
