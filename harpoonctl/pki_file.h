/* harpoonctl/pki_file.h: certificates and keys in PEM files. */
#pragma once

#include "lib/error.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

/* The caller frees them. ERR_NOT_FOUND: no such file; ERR_INVALID: not that. */
int pki_file_load_certificate(const char *path, X509 **ret, struct error *err) MUST_CHECK;
int pki_file_load_key(const char *path, EVP_PKEY **ret, struct error *err) MUST_CHECK;
/* Replaces the file at once or not at all. The key's is 0600, the certificate's 0644. */
int pki_file_save_certificate(const char *path, X509 *certificate, struct error *err) MUST_CHECK;
int pki_file_save_key(const char *path, EVP_PKEY *key, struct error *err) MUST_CHECK;
/* Makes `path` and the folders above it. */
int pki_file_make_folder(const char *path, struct error *err) MUST_CHECK;
