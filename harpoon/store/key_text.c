/* The pure part of keys.h: what a public key's text says. */
#include "harpoon/digest.h"
#include "harpoon/store/keys.h"

#include <stdlib.h>
#include <string.h>

static const char *const kinds[] = {
    "ssh-rsa",
    "ssh-dss",
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
};

static int base64_value(char c)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c != 0 ? strchr(alphabet, c) : NULL;
    return at != NULL ? (int)(at - alphabet) : -1;
}

/* Decodes strictly; returns the bytes, -1: not base64. `to` holds len / 4 * 3. */
static long decode_base64(const char *text, size_t len, uint8_t *to)
{
    long n = 0;

    if (len == 0 || len % 4 != 0)
        return -1;
    for (size_t i = 0; i < len; i += 4) {
        int v[4];
        size_t padding = 0;
        for (size_t k = 0; k < 4; k++) {
            if (text[i + k] == '=' && i + 4 == len && k >= 2) {
                v[k] = 0;
                padding++;
            } else if (padding > 0 || (v[k] = base64_value(text[i + k])) < 0) {
                return -1;
            }
        }
        uint32_t word =
            (uint32_t)v[0] << 18 | (uint32_t)v[1] << 12 | (uint32_t)v[2] << 6 | (uint32_t)v[3];
        to[n++] = (uint8_t)(word >> 16);
        if (padding < 2)
            to[n++] = (uint8_t)(word >> 8);
        if (padding < 1)
            to[n++] = (uint8_t)word;
    }
    return n;
}

/* The blob begins with the length and the name of its kind, as the line does. */
static bool blob_fits(const uint8_t *blob, long size, const char *kind, size_t kind_len)
{
    if (size < 4 + (long)kind_len + 4)
        return false;
    size_t len = (size_t)blob[0] << 24 | (size_t)blob[1] << 16 | (size_t)blob[2] << 8 | blob[3];
    return len == kind_len && memcmp(blob + 4, kind, kind_len) == 0;
}

static void format_fingerprint(const uint8_t md5[DIGEST_MD5], char ret[KEY_FINGERPRINT])
{
    for (size_t i = 0; i < DIGEST_MD5; i++) {
        digest_format_hex(md5 + i, 1, ret + 3 * i);
        ret[3 * i + 2] = ':';
    }
    ret[KEY_FINGERPRINT - 1] = 0;
}

static bool is_kind(const char *text, size_t len)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (strlen(kinds[i]) == len && memcmp(kinds[i], text, len) == 0)
            return true;
    return false;
}

int key_fingerprint(const char *public_key, char ret[KEY_FINGERPRINT], struct error *err)
{
    uint8_t md5[DIGEST_MD5];
    size_t total = strlen(public_key), kind_len = strcspn(public_key, " \t");
    const char *data = public_key + kind_len + strspn(public_key + kind_len, " \t");
    size_t len = strcspn(data, " \t\r\n");

    if (total > KEY_TEXT_MAX || strcspn(public_key, "\r\n") != total ||
        !is_kind(public_key, kind_len) || len == 0)
        return error_set(err, ERR_INVALID, "public_key is not an OpenSSH public key.");
    uint8_t *blob = malloc(len);
    if (blob == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    long size = decode_base64(data, len, blob);
    bool fits = size > 0 && blob_fits(blob, size, public_key, kind_len);
    if (fits)
        digest_md5(blob, (size_t)size, md5);
    free(blob);
    if (!fits)
        return error_set(err, ERR_INVALID, "public_key is not an OpenSSH public key.");
    format_fingerprint(md5, ret);
    return 0;
}

bool key_is_fingerprint(const char *text, char ret[KEY_FINGERPRINT])
{
    if (strlen(text) != KEY_FINGERPRINT - 1)
        return false;
    for (size_t i = 0; i < KEY_FINGERPRINT - 1; i++) {
        char c = text[i];
        if (c >= 'A' && c <= 'F')
            c = (char)(c - 'A' + 'a');
        bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
        if (i % 3 == 2 ? c != ':' : !hex)
            return false;
        ret[i] = c;
    }
    ret[KEY_FINGERPRINT - 1] = 0;
    return true;
}

bool key_name_parse(const char *text, struct key_name *ret)
{
    uint64_t id = 0;

    *ret = (struct key_name){0};
    if (key_is_fingerprint(text, ret->fingerprint))
        return true;
    if (*text == 0 || strlen(text) > 16 || strspn(text, "0123456789") != strlen(text))
        return false;
    id = strtoull(text, NULL, 10);
    ret->id = id;
    return id > 0 && id < UINT64_C(1) << 53;
}
