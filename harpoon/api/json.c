#include "harpoon/api/json.h"

#include <string.h>

#define ID_MAX ((UINT64_C(1) << 53) - 1)

/* jansson recurses for each level, so depth is counted before it reads. */
static bool is_too_deep(const char *text, size_t size)
{
    size_t depth = 0;
    bool quoted = false;

    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (quoted) {
            if (c == '\\')
                i++;
            else if (c == '"')
                quoted = false;
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            if (++depth > JSON_DEPTH_MAX)
                return true;
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return false;
}

static const char *describe(enum json_error_code code)
{
    static const struct {
        enum json_error_code code;
        const char *text;
    } known[] = {
        {json_error_invalid_utf8, "it is not UTF-8"},
        {json_error_null_character, "a text holds the character NUL"},
        {json_error_null_byte_in_key, "a key holds the character NUL"},
        {json_error_numeric_overflow, "a number is too large"},
        {json_error_premature_end_of_input, "it ends too early"},
        {json_error_end_of_input_expected, "something follows its end"},
    };

    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (known[i].code == code)
            return known[i].text;
    return "it is not well formed";
}

int json_parse_object(const void *body, size_t size, json_t **ret, struct error *err)
{
    json_error_t why;

    if (size == 0)
        return error_set(err, ERR_INVALID, "The request body is empty; a JSON object is expected.");
    if (is_too_deep(body, size))
        return error_set(err, ERR_INVALID, "The request body is nested deeper than %d levels.",
                         JSON_DEPTH_MAX);
    json_t *root = json_loadb(body, size, JSON_DECODE_ANY, &why);
    if (root == NULL)
        return error_set(err, ERR_INVALID,
                         "The request body cannot be read as JSON: %s (line %d, column %d).",
                         describe(json_error_code(&why)), why.line, why.column);
    if (!json_is_object(root)) {
        json_decref(root);
        return error_set(err, ERR_INVALID, "The request body must be a JSON object.");
    }
    *ret = root;
    return 0;
}

json_t *json_get_given(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

int json_get_text(const json_t *object, const char *key, const char **ret, struct error *err)
{
    const json_t *value = json_get_given(object, key);

    if (value == NULL)
        return 0;
    if (!json_is_string(value))
        return error_set(err, ERR_INVALID, "%s must be a string.", key);
    *ret = json_string_value(value);
    return 1;
}

int json_get_flag(const json_t *object, const char *key, bool *ret, struct error *err)
{
    const json_t *value = json_get_given(object, key);
    const char *text = json_string_value(value);

    if (value == NULL)
        return 0;
    if (json_is_boolean(value))
        *ret = json_is_true(value);
    else if (text != NULL && (strcmp(text, "true") == 0 || strcmp(text, "false") == 0))
        *ret = text[0] == 't';
    else
        return error_set(err, ERR_INVALID, "%s must be true or false.", key);
    return 1;
}

int json_get_array(const json_t *object, const char *key, json_t **ret, struct error *err)
{
    json_t *value = json_get_given(object, key);

    if (value == NULL)
        return 0;
    if (!json_is_array(value))
        return error_set(err, ERR_INVALID, "%s must be an array.", key);
    *ret = value;
    return 1;
}

bool json_parse_id(const char *text, uint64_t *ret)
{
    uint64_t v = 0;

    if (*text == 0 || strlen(text) > 16)
        return false;
    for (; *text != 0; text++) {
        if (*text < '0' || *text > '9')
            return false;
        v = v * 10 + (uint64_t)(*text - '0');
    }
    if (v == 0 || v > ID_MAX)
        return false;
    *ret = v;
    return true;
}

bool json_read_id(const json_t *value, uint64_t *ret)
{
    if (json_is_string(value))
        return json_parse_id(json_string_value(value), ret);
    if (!json_is_integer(value) || json_integer_value(value) <= 0 ||
        (uint64_t)json_integer_value(value) > ID_MAX)
        return false;
    *ret = (uint64_t)json_integer_value(value);
    return true;
}

const char *json_show(const char *text, char ret[JSON_SHOWN])
{
    size_t n = 0;

    for (; text[n] != 0 && n < 48; n++)
        ret[n] = text[n] >= ' ' && text[n] <= '~' ? text[n] : '?';
    if (text[n] != 0) {
        memcpy(ret + n, "...", 3);
        n += 3;
    }
    ret[n] = 0;
    return ret;
}
