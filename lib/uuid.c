#include "lib/uuid.h"

#include "lib/backoff.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

static void set_version(struct uuid *u, int version)
{
    u->b[6] = (uint8_t)((u->b[6] & 0x0F) | version << 4);
    u->b[8] = (uint8_t)((u->b[8] & 0x3F) | 0x80);
}

void uuid_make_random(struct uuid *ret)
{
    uint64_t halves[2] = {random_u64(), random_u64()};

    memcpy(ret->b, halves, sizeof ret->b);
    set_version(ret, 4);
}

void uuid_make_named(const struct uuid *space, const void *name, size_t len, struct uuid *ret)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    if (ctx == NULL || EVP_DigestInit_ex(ctx, EVP_sha1(), NULL) != 1 ||
        EVP_DigestUpdate(ctx, space->b, sizeof space->b) != 1 ||
        EVP_DigestUpdate(ctx, name, len) != 1 || EVP_DigestFinal_ex(ctx, digest, NULL) != 1)
        abort(); /* out of memory, or an OpenSSL without SHA-1: no identity can be made */
    EVP_MD_CTX_free(ctx);
    memcpy(ret->b, digest, sizeof ret->b);
    set_version(ret, 5);
}

void uuid_format(const struct uuid *u, char ret[UUID_TEXT])
{
    static const char digits[] = "0123456789abcdef";
    char *p = ret;

    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *p++ = '-';
        *p++ = digits[u->b[i] >> 4];
        *p++ = digits[u->b[i] & 15];
    }
    *p = 0;
}

static int digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int uuid_parse(const char *text, struct uuid *ret, struct error *err)
{
    struct uuid u;
    const char *p = text;

    for (int i = 0; i < 16; i++) {
        if ((i == 4 || i == 6 || i == 8 || i == 10) && *p++ != '-')
            return error_set(err, ERR_INVALID, "not a UUID: \"%.40s\"", text);
        int high = digit_value(p[0]), low = high < 0 ? -1 : digit_value(p[1]);
        if (low < 0)
            return error_set(err, ERR_INVALID, "not a UUID: \"%.40s\"", text);
        u.b[i] = (uint8_t)(high << 4 | low);
        p += 2;
    }
    if (*p != 0)
        return error_set(err, ERR_INVALID, "not a UUID: \"%.40s\"", text);
    *ret = u;
    return 0;
}

bool uuid_equal(const struct uuid *a, const struct uuid *b)
{
    return memcmp(a->b, b->b, sizeof a->b) == 0;
}

bool uuid_is_zero(const struct uuid *u)
{
    static const struct uuid zero;

    return uuid_equal(u, &zero);
}
