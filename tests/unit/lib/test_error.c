#include "lib/error.h"

#include "tests/unit/lib/support.h"

#include <string.h>

static void words_are_put_in_front(void **state)
{
    struct error err;

    UNUSED(state);
    assert_int_equal(error_set(&err, ERR_UNAVAILABLE, "connection %s", "lost"), ERR_UNAVAILABLE);
    assert_int_equal(error_in(&err, "claim on hypervisor %d", 7), ERR_UNAVAILABLE);
    assert_string_equal(err.message, "claim on hypervisor 7: connection lost");
    assert_int_equal(err.code, ERR_UNAVAILABLE);
}

static void an_error_may_speak_of_itself(void **state)
{
    struct error err;

    UNUSED(state);
    (void)error_set(&err, ERR_BUSY, "first");
    (void)error_set(&err, ERR_INTERNAL, "after %s", err.message);
    assert_string_equal(err.message, "after first");
}

static void a_long_message_is_cut_between_characters(void **state)
{
    struct error err;
    char text[1000];

    UNUSED(state);
    for (size_t shift = 0; shift < 3; shift++) {
        memset(text, 'a', shift);
        for (size_t i = shift; i + 3 < sizeof text; i += 3)
            memcpy(text + i, "\xE2\x82\xAC", 4);
        (void)error_set(&err, ERR_INVALID, "%s", text);
        size_t len = strlen(err.message);
        assert_true(len > sizeof err.message - 5 && len < sizeof err.message);
        assert_int_equal((len - shift) % 3, 0);
        (void)error_in(&err, "in front");
        assert_int_equal((strlen(err.message) - shift - strlen("in front: ")) % 3, 0);
    }
}

static void words_longer_than_the_message_are_cut(void **state)
{
    struct error err;
    char text[1000];

    UNUSED(state);
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    (void)error_set(&err, ERR_INVALID, "end");
    (void)error_in(&err, "%s", text);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
}

static void every_code_has_its_own_row(void **state)
{
    UNUSED(state);
    for (int code = ERR_TOO_LARGE; code <= ERR_INVALID; code++) {
        const struct error_info *info = error_info_get(code);
        assert_int_equal(info->code, code);
        assert_true(info->http_status >= 400 && info->http_status < 600);
        assert_int_equal(error_code_from_grpc(info->grpc_status), code);
        for (int other = code + 1; other <= ERR_INVALID; other++)
            assert_string_not_equal(info->name, error_info_get(other)->name);
    }
}

static void unknown_codes_are_internal(void **state)
{
    UNUSED(state);
    assert_int_equal(error_info_get(-4711)->code, ERR_INTERNAL);
    assert_int_equal(error_info_get(0)->code, ERR_INTERNAL);
    assert_int_equal(error_code_from_grpc(2), ERR_INTERNAL);
    assert_int_equal(error_code_from_grpc(99), ERR_INTERNAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_put_in_front),
        cmocka_unit_test(an_error_may_speak_of_itself),
        cmocka_unit_test(a_long_message_is_cut_between_characters),
        cmocka_unit_test(words_longer_than_the_message_are_cut),
        cmocka_unit_test(every_code_has_its_own_row),
        cmocka_unit_test(unknown_codes_are_internal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
