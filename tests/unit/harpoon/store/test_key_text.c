#include "harpoon/store/keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#define ED_DATA "AAAAC3NzaC1lZDI1NTE5AAAAILtDw428uQJ5pv3fWEXUIagwQ5913xDomCM0ZFT0pbum"
#define ED      "ssh-ed25519 " ED_DATA
#define RSA                                                                                        \
    "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDA5TdsmtSNhY01hvRy/ytpRsvkBzfpKYnNArEnZVVB0qWtJ+GRYg6b" \
    "Mu3oHiGVINQvaMeL2sxUBST4SsKrl64UdnQfLIzhXsvfsPR/yz8BfDOE+Oj2GKj19aKxVbveDjjHEk/GdmPVilbBpqJ"  \
    "oKmJCedPQONrpdQLb3gpGXRgjVw=="
#define ECDSA                                                                                      \
    "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBGxDIF9hoFWvoH+DwbnV" \
    "WV2iOCNZy9UkiZwCTdNPD48mLqvkoZB2SDli6cewKFAozaF6DYW5lOXNs8SLKAjboC0="

static void fingerprints_are_those_of_ssh_keygen(void **state)
{
    static const struct {
        const char *key, *fingerprint;
    } keys[] = {
        {ED, "27:1a:02:83:57:03:ac:ee:17:e4:74:ab:01:94:cc:3b"},
        {ED " me@x and more", "27:1a:02:83:57:03:ac:ee:17:e4:74:ab:01:94:cc:3b"},
        {"ssh-ed25519 \t" ED_DATA, "27:1a:02:83:57:03:ac:ee:17:e4:74:ab:01:94:cc:3b"},
        {RSA, "ac:1a:d3:73:19:91:ef:5c:e2:93:b6:d0:f3:e4:0c:22"},
        {ECDSA, "2f:d2:34:c9:8d:c2:10:b9:19:2a:7f:15:cc:bc:f5:d5"},
    };
    char fingerprint[KEY_FINGERPRINT];
    struct error err;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        assert_int_equal(key_fingerprint(keys[i].key, fingerprint, &err), 0);
        assert_string_equal(fingerprint, keys[i].fingerprint);
    }
}

static void what_is_no_public_key_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        " ",
        "ssh-ed25519",
        "ssh-ed25519 ",
        ED_DATA,
        "ssh-ed25519 !!!!",
        "ssh-ed25519 AAAA",
        "ssh-ed25519 AAA",
        "ssh-ed25519 AAAA=AAA",
        "ssh-ed25519 ====",
        "ssh-rsa " ED_DATA,     /* the data says another kind */
        "ssh-unknown " ED_DATA, /* of no use to a guest */
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        ED "\n" ED, /* a second line would be a second key */
        ED "\nssh",
        "command=\"x\" " ED,
    };
    char fingerprint[KEY_FINGERPRINT];
    struct error err;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (key_fingerprint(bad[i], fingerprint, &err) != ERR_INVALID)
            fail_msg("%s", bad[i]);
}

static void key_that_is_too_long_is_refused(void **state)
{
    char *text = malloc(KEY_TEXT_MAX + 2), fingerprint[KEY_FINGERPRINT];
    struct error err;

    (void)state;
    memset(text, 'x', KEY_TEXT_MAX + 1);
    memcpy(text, ED " ", strlen(ED " "));
    text[KEY_TEXT_MAX + 1] = 0;
    assert_int_equal(key_fingerprint(text, fingerprint, &err), ERR_INVALID);
    text[KEY_TEXT_MAX] = 0;
    assert_int_equal(key_fingerprint(text, fingerprint, &err), 0);
    free(text);
}

static void key_is_named_by_number_or_fingerprint(void **state)
{
    struct key_name name;

    (void)state;
    assert_true(key_name_parse("1001", &name));
    assert_int_equal(name.id, 1001);
    assert_true(key_name_parse("27:1A:02:83:57:03:ac:ee:17:e4:74:ab:01:94:cc:3B", &name));
    assert_int_equal(name.id, 0);
    assert_string_equal(name.fingerprint, "27:1a:02:83:57:03:ac:ee:17:e4:74:ab:01:94:cc:3b");
}

static void what_names_no_key_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "0",
        "-1",
        "1.5",
        "0x10",
        "99999999999999999999",
        "9007199254740992",
        "mine",
        "27:1a:02:83:57:03:ac:ee:17:e4:74:ab:01:94:cc",
        "27:1a:02:83:57:03:ac:ee:17:e4:74:ab:01:94:cc:3g",
        "271a:02:83:57:03:ac:ee:17:e4:74:ab:01:94:cc:3b0",
    };
    struct key_name name;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (key_name_parse(bad[i], &name))
            fail_msg("%s", bad[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fingerprints_are_those_of_ssh_keygen),
        cmocka_unit_test(what_is_no_public_key_is_refused),
        cmocka_unit_test(key_that_is_too_long_is_refused),
        cmocka_unit_test(key_is_named_by_number_or_fingerprint),
        cmocka_unit_test(what_names_no_key_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
