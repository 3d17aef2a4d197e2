#include "lib/log.h"

#include "tests/unit/lib/support.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int real_stderr = -1, ends[2];

static void capture(void)
{
    assert_int_equal(pipe(ends), 0);
    real_stderr = dup(STDERR_FILENO);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    close(ends[1]);
}

/* What was written since capture(), in one read: a line is one write. */
static size_t captured(char *ret, size_t size)
{
    assert_true(dup2(real_stderr, STDERR_FILENO) >= 0);
    close(real_stderr);
    ssize_t n = read(ends[0], ret, size - 1);
    close(ends[0]);
    assert_true(n >= 0);
    ret[n] = 0;
    return (size_t)n;
}

static json_t *parse_line(const char *line, size_t size)
{
    json_error_t why;

    assert_true(size > 1 && line[size - 1] == '\n');
    assert_ptr_equal(strchr(line, '\n'), line + size - 1);
    json_t *object = json_loadb(line, size, 0, &why);
    if (object == NULL)
        fail_msg("%s: %s", why.text, line);
    return object;
}

static void a_line_is_one_json_object(void **state)
{
    char line[16384];

    UNUSED(state);
    log_open("test", LOG_DEBUG);
    capture();
    log_info("event \"dispatched\"", F_EVENT(7), F_I64("took_ms", -3), F_BOOL("late", true),
             F_STR("region", "nyc3"), F_STR("nothing", NULL));
    json_t *o = parse_line(line, captured(line, sizeof line));
    assert_string_equal(json_string_value(json_object_get(o, "message")), "event \"dispatched\"");
    assert_string_equal(json_string_value(json_object_get(o, "level")), "info");
    assert_string_equal(json_string_value(json_object_get(o, "service")), "test");
    assert_int_equal(json_integer_value(json_object_get(o, "event_id")), 7);
    assert_int_equal(json_integer_value(json_object_get(o, "took_ms")), -3);
    assert_true(json_is_true(json_object_get(o, "late")));
    assert_true(json_is_null(json_object_get(o, "nothing")));
    assert_int_equal(strlen(json_string_value(json_object_get(o, "time"))),
                     strlen("2020-07-21T18:37:44.123Z"));
    json_decref(o);
}

static const char *logged_text(const char *text, char *line, size_t size, json_t **ret_object)
{
    capture();
    log_info("x", F_STR("text", text));
    *ret_object = parse_line(line, captured(line, size));
    return json_string_value(json_object_get(*ret_object, "text"));
}

static void control_characters_are_escaped(void **state)
{
    char line[16384], all[33] = "";
    json_t *o;

    UNUSED(state);
    for (int i = 1; i < 32; i++)
        all[i - 1] = (char)i;
    log_open("test", LOG_DEBUG);
    assert_string_equal(logged_text(all, line, sizeof line, &o), all);
    json_decref(o);
    assert_string_equal(logged_text("\"\\/\x7F", line, sizeof line, &o), "\"\\/\x7F");
    json_decref(o);
}

static void what_is_no_utf8_is_replaced(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"gr\xC3\xBC\xC3\x9F", "gr\xC3\xBC\xC3\x9F"},
        {"\xF0\x9F\x90\xA7", "\xF0\x9F\x90\xA7"},
        {"\xE2\x82\xAC", "\xE2\x82\xAC"},
        {"a\xFFz", "a\xEF\xBF\xBDz"},
        {"\xC0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD"},                                 /* overlong */
        {"\xE0\x80\xAF", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},                 /* overlong */
        {"\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},                 /* a surrogate */
        {"\xF4\x90\x80\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"}, /* beyond */
        {"\xE2\x82", "\xEF\xBF\xBD\xEF\xBF\xBD"},                                 /* cut */
    };
    char line[16384];
    json_t *o;

    UNUSED(state);
    log_open("test", LOG_DEBUG);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_string_equal(logged_text(cases[i].in, line, sizeof line, &o), cases[i].out);
        json_decref(o);
    }
}

static void a_line_too_long_is_cut_at_a_field(void **state)
{
    char line[16384], *text = malloc(5000);

    UNUSED(state);
    assert_non_null(text);
    memset(text, 1, 4999); /* six characters each, escaped */
    text[4999] = 0;
    log_open("test", LOG_DEBUG);
    capture();
    log_info("x", F_STR("fits", "yes"), F_STR("a", text), F_STR("b", text));
    json_t *o = parse_line(line, captured(line, sizeof line));
    assert_string_equal(json_string_value(json_object_get(o, "fits")), "yes");
    assert_null(json_object_get(o, "b"));
    assert_true(json_is_true(json_object_get(o, "cut")));
    json_decref(o);
    free(text);
}

static void lower_levels_are_not_written(void **state)
{
    char line[16384];

    UNUSED(state);
    log_open("test", LOG_WARN);
    capture();
    log_debug("quiet");
    log_info("quiet");
    log_warn("loud");
    json_t *o = parse_line(line, captured(line, sizeof line));
    assert_string_equal(json_string_value(json_object_get(o, "message")), "loud");
    json_decref(o);
}

static void levels_have_names(void **state)
{
    struct error err;
    enum log_level level = LOG_ERROR;

    UNUSED(state);
    assert_int_equal(log_level_parse("warn", &level, &err), 0);
    assert_int_equal(level, LOG_WARN);
    assert_int_equal(log_level_parse("Warn", &level, &err), ERR_INVALID);
    assert_int_equal(level, LOG_WARN);
    assert_has(err.message, "debug");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_one_json_object),
        cmocka_unit_test(control_characters_are_escaped),
        cmocka_unit_test(what_is_no_utf8_is_replaced),
        cmocka_unit_test(a_line_too_long_is_cut_at_a_field),
        cmocka_unit_test(lower_levels_are_not_written),
        cmocka_unit_test(levels_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
