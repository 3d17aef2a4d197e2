/* harpoon/digest.h: the two digests Harpoon needs. Only digest.c sees the crypto library. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define DIGEST_SHA256 32
#define DIGEST_MD5    16

void digest_sha256(const void *data, size_t size, uint8_t ret[DIGEST_SHA256]);
/* For the fingerprints of SSH keys; it protects nothing. */
void digest_md5(const void *data, size_t size, uint8_t ret[DIGEST_MD5]);
/* Lower case; `ret` holds 2 * size + 1. */
void digest_format_hex(const uint8_t *data, size_t size, char *ret);
