#include "harpoon/digest.h"
#include "harpoon/store/tokens.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

static void token_is_the_prefix_and_64_hex_digits(void **state)
{
    char one[TOKEN_TEXT], two[TOKEN_TEXT];

    (void)state;
    token_make(one);
    token_make(two);
    assert_int_equal(strlen(one), TOKEN_TEXT - 1);
    assert_memory_equal(one, TOKEN_PREFIX, strlen(TOKEN_PREFIX));
    assert_int_equal(strspn(one + strlen(TOKEN_PREFIX), "0123456789abcdef"), 64);
    assert_string_not_equal(one, two);
}

static void hash_is_sha_256(void **state)
{
    uint8_t hash[TOKEN_HASH];
    char hex[2 * TOKEN_HASH + 1];

    (void)state;
    token_hash("abc", hash);
    digest_format_hex(hash, sizeof hash, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void header_gives_the_token_whatever_the_case_of_its_scheme(void **state)
{
    (void)state;
    assert_string_equal(token_from_header("Bearer x"), "x");
    assert_string_equal(token_from_header("bearer  x"), "x");
    assert_string_equal(token_from_header("BEARER\tx"), "x");
}

static void header_without_a_token_gives_none(void **state)
{
    (void)state;
    assert_null(token_from_header(NULL));
    assert_null(token_from_header(""));
    assert_null(token_from_header("Bearer"));
    assert_null(token_from_header("Bearer "));
    assert_null(token_from_header("Bearerx"));
    assert_null(token_from_header("Basic eDp5"));
    assert_null(token_from_header("x"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(token_is_the_prefix_and_64_hex_digits),
        cmocka_unit_test(hash_is_sha_256),
        cmocka_unit_test(header_gives_the_token_whatever_the_case_of_its_scheme),
        cmocka_unit_test(header_without_a_token_gives_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
