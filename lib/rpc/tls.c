#include "lib/rpc/tls.h"

#include "lib/clock.h"

#include <errno.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_PEM_BYTES (256 * 1024)

struct pem_files {
    char *ca, *certificate, *key;
};

static int pem_read(const char *path, const char *what, char **ret, struct error *err)
{
    if (!path)
        return error_set(err, ERR_INVALID, "no %s file is given", what);
    FILE *file = fopen(path, "re");
    if (!file)
        return error_set(err, ERR_INVALID, "%s %s: %s", what, path, strerror(errno));
    char *text = malloc(MAX_PEM_BYTES + 1);
    size_t n = text ? fread(text, 1, MAX_PEM_BYTES + 1, file) : 0;
    fclose(file);
    if (n == 0 || n > MAX_PEM_BYTES) {
        free(text);
        return error_set(err, ERR_INVALID, "%s %s: empty or too large", what, path);
    }
    text[n] = '\0';
    *ret = text;
    return 0;
}

static void pem_files_fini(struct pem_files *f)
{
    free(f->ca);
    free(f->certificate);
    if (f->key)
        explicit_bzero(f->key, strlen(f->key));
    free(f->key);
}

static X509 *parse_certificate(const char *pem, size_t size)
{
    BIO *bio = BIO_new_mem_buf(pem, (int)size);
    X509 *x = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    return x;
}

/* Key and certificate belong together: said here in words, because a handshake says nothing. */
static int pem_check(const struct rpc_tls *tls, const struct pem_files *f, struct error *err)
{
    BIO *bio = BIO_new_mem_buf(f->key, -1);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
    X509 *own = parse_certificate(f->certificate, strlen(f->certificate));
    X509 *ca = parse_certificate(f->ca, strlen(f->ca));
    int r = 0;
    if (!ca)
        r = error_set(err, ERR_INVALID, "%s is not a PEM certificate", tls->ca);
    else if (!own)
        r = error_set(err, ERR_INVALID, "%s is not a PEM certificate", tls->certificate);
    else if (!key)
        r = error_set(err, ERR_INVALID, "%s is not a PEM private key", tls->key);
    else if (X509_check_private_key(own, key) != 1)
        r = error_set(err, ERR_INVALID, "%s is not the key of %s", tls->key, tls->certificate);
    else if (X509_cmp_current_time(X509_get0_notAfter(own)) < 0)
        r = error_set(err, ERR_INVALID, "certificate %s has ended", tls->certificate);
    X509_free(ca);
    X509_free(own);
    EVP_PKEY_free(key);
    BIO_free(bio);
    return r;
}

static int pem_files_load(const struct rpc_tls *tls, struct pem_files *ret, struct error *err)
{
    *ret = (struct pem_files){NULL, NULL, NULL};
    int r = pem_read(tls->ca, "CA certificate", &ret->ca, err);
    if (r == 0)
        r = pem_read(tls->certificate, "certificate", &ret->certificate, err);
    if (r == 0)
        r = pem_read(tls->key, "key", &ret->key, err);
    if (r == 0)
        r = pem_check(tls, ret, err);
    if (r < 0)
        pem_files_fini(ret);
    return r;
}

int rpc_tls_server(const struct rpc_tls *tls, grpc_server_credentials **ret, struct error *err)
{
    struct pem_files files;
    int r = pem_files_load(tls, &files, err);
    if (r < 0)
        return r;
    grpc_ssl_pem_key_cert_pair pair = {files.key, files.certificate};
    *ret = grpc_ssl_server_credentials_create_ex(
        files.ca, &pair, 1, GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY, NULL);
    pem_files_fini(&files);
    return *ret ? 0 : error_set(err, ERR_INVALID, "cannot use %s", tls->certificate);
}

int rpc_tls_client(const struct rpc_tls *tls, grpc_channel_credentials **ret, struct error *err)
{
    struct pem_files files;
    int r = pem_files_load(tls, &files, err);
    if (r < 0)
        return r;
    grpc_ssl_pem_key_cert_pair pair = {files.key, files.certificate};
    *ret = grpc_ssl_credentials_create_ex(files.ca, &pair, NULL, NULL);
    pem_files_fini(&files);
    return *ret ? 0 : error_set(err, ERR_INVALID, "cannot use %s", tls->certificate);
}

/* ---- when a peer's certificate ends ---- */

/* Parsing one costs about 100 µs, more than a whole call: the few that call often are remembered,
 * by digest, in a direct-mapped table. */
struct expiry {
    unsigned char digest[SHA256_DIGEST_LENGTH];
    int64_t not_after_s; /* 0: empty */
};
static struct expiry expiries[1024]; /* guarded by expiries_lock */
static pthread_mutex_t expiries_lock = PTHREAD_MUTEX_INITIALIZER;

static int64_t certificate_end_s(const char *pem, size_t size)
{
    X509 *x = parse_certificate(pem, size);
    struct tm tm;
    int64_t end_s = 0;
    if (x && ASN1_TIME_to_tm(X509_get0_notAfter(x), &tm) == 1)
        end_s = (int64_t)timegm(&tm);
    X509_free(x);
    return end_s;
}

static int64_t expiry_find_s(const char *pem, size_t size)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256((const unsigned char *)pem, size, digest);
    struct expiry *row = &expiries[(digest[0] | (size_t)digest[1] << 8) % ARRAY_LEN(expiries)];
    {
        LOCK_SCOPE(&expiries_lock);
        if (row->not_after_s > 0 && memcmp(row->digest, digest, sizeof(digest)) == 0)
            return row->not_after_s;
    }
    int64_t end_s = certificate_end_s(pem, size);
    LOCK_SCOPE(&expiries_lock);
    memcpy(row->digest, digest, sizeof(digest));
    row->not_after_s = end_s;
    return end_s;
}

/* ---- who a peer is ---- */

static int read_uri(const grpc_auth_context *auth, struct rpc_peer *ret, struct error *err)
{
    grpc_auth_property_iterator it =
        grpc_auth_context_find_properties_by_name(auth, GRPC_PEER_URI_PROPERTY_NAME);
    const grpc_auth_property *uri = grpc_auth_property_iterator_next(&it);
    if (!uri || strlen(uri->value) != uri->value_length)
        return error_set(err, ERR_UNAUTHENTICATED, "the certificate has no URI name");
    if (grpc_auth_property_iterator_next(&it))
        return error_set(err, ERR_UNAUTHENTICATED, "the certificate has several URI names");
    if (rpc_peer_parse(uri->value, ret, err) < 0)
        err->code = ERR_UNAUTHENTICATED;
    else
        err->code = 0;
    return err->code;
}

static int check_end(const grpc_auth_context *auth, struct error *err)
{
    grpc_auth_property_iterator it =
        grpc_auth_context_find_properties_by_name(auth, GRPC_X509_PEM_CERT_PROPERTY_NAME);
    const grpc_auth_property *pem = grpc_auth_property_iterator_next(&it);
    if (!pem)
        return error_set(err, ERR_UNAUTHENTICATED, "the peer shows no certificate");
    if (expiry_find_s(pem->value, pem->value_length) * 1000 <= unix_ms())
        return error_set(err, ERR_UNAUTHENTICATED, "the certificate has ended");
    return 0;
}

int rpc_tls_peer(grpc_call *call, struct rpc_peer *ret, struct error *err)
{
    grpc_auth_context *auth = grpc_call_auth_context(call);
    if (!auth)
        return error_set(err, ERR_UNAUTHENTICATED, "no authentication on this connection");
    int r = grpc_auth_context_peer_is_authenticated(auth)
                ? read_uri(auth, ret, err)
                : error_set(err, ERR_UNAUTHENTICATED, "the peer shows no certificate");
    if (r == 0)
        r = check_end(auth, err);
    grpc_auth_context_release(auth);
    return r;
}
