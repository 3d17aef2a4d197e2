#include "harpoon/digest.h"

#include <openssl/evp.h>
#include <stdlib.h>

static void digest(const EVP_MD *kind, const void *data, size_t size, uint8_t *ret)
{
    if (EVP_Digest(data, size, ret, NULL, kind, NULL) != 1)
        abort(); /* out of memory, or a library without it: nobody can be let in */
}

void digest_sha256(const void *data, size_t size, uint8_t ret[DIGEST_SHA256])
{
    digest(EVP_sha256(), data, size, ret);
}

void digest_md5(const void *data, size_t size, uint8_t ret[DIGEST_MD5])
{
    digest(EVP_md5(), data, size, ret);
}

void digest_format_hex(const uint8_t *data, size_t size, char *ret)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < size; i++) {
        *ret++ = digits[data[i] >> 4];
        *ret++ = digits[data[i] & 15];
    }
    *ret = 0;
}
