#include "harpoonctl/pki.h"

#include "harpoonctl/pki_file.h"
#include "lib/clock.h"

#include <inttypes.h>
#include <limits.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CA_DAYS      3650
#define RENEW_S      (30 * INT64_C(86400))
#define CLOCK_SKEW_S 300 /* of a machine that runs behind the authority's */
#define SERIAL_BYTES 16

struct pki {
    char *dir;
    X509 *certificate;
    EVP_PKEY *key;
};

static int failed(struct error *err, const char *what)
{
    return error_set(err, ERR_INTERNAL, "cannot make %s", what);
}

static int path_in(const char *dir, const char *rest, char ret[PATH_MAX], struct error *err)
{
    if (snprintf(ret, PATH_MAX, "%s/%s", dir, rest) >= PATH_MAX)
        return error_set(err, ERR_INVALID, "the path %.100s… is too long", dir);
    return 0;
}

/* ---- names ---- */

static int add_name(GENERAL_NAMES *names, int type, const char *value)
{
    GENERAL_NAME *name = GENERAL_NAME_new();
    void *content;
    if (type == GEN_IPADD) {
        content = a2i_IPADDRESS(value);
    } else {
        ASN1_IA5STRING *text = ASN1_IA5STRING_new();
        if (text && (!*value || !ASN1_STRING_set(text, value, -1))) {
            ASN1_IA5STRING_free(text);
            text = NULL;
        }
        content = text;
    }
    if (!name || !content) {
        GENERAL_NAME_free(name);
        ASN1_STRING_free(content);
        return 0;
    }
    GENERAL_NAME_set0_value(name, type, content);
    return sk_GENERAL_NAME_push(names, name);
}

static int add_listed(GENERAL_NAMES *names, const char *sans, struct error *err)
{
    char list[1024];
    char *rest = list;
    char *one;
    if (snprintf(list, sizeof(list), "%s", sans) >= (int)sizeof(list))
        return error_set(err, ERR_INVALID, "the list of names is too long");
    while ((one = strsep(&rest, ",")) != NULL) {
        int added = strncmp(one, "DNS:", 4) == 0  ? add_name(names, GEN_DNS, one + 4)
                    : strncmp(one, "IP:", 3) == 0 ? add_name(names, GEN_IPADD, one + 3)
                                                  : 0;
        if (!added)
            return error_set(err, ERR_INVALID, "'%s' is neither DNS:name nor IP:address", one);
    }
    return 0;
}

static int names_make(const struct pki_request *request, GENERAL_NAMES **ret, struct error *err)
{
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    int r = names && add_name(names, GEN_URI, request->uri) ? 0 : failed(err, "a name");
    if (r == 0 && request->sans)
        r = add_listed(names, request->sans, err);
    if (r < 0) {
        GENERAL_NAMES_free(names);
        return r;
    }
    *ret = names;
    return 0;
}

static bool has_names(X509 *certificate, GENERAL_NAMES *wanted)
{
    GENERAL_NAMES *found = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    unsigned char *a = NULL;
    unsigned char *b = NULL;
    int a_size = found ? i2d_GENERAL_NAMES(found, &a) : -1;
    int b_size = i2d_GENERAL_NAMES(wanted, &b);
    bool same = a_size > 0 && a_size == b_size && memcmp(a, b, (size_t)a_size) == 0;
    OPENSSL_free(a);
    OPENSSL_free(b);
    GENERAL_NAMES_free(found);
    return same;
}

/* ---- certificates ---- */

static int set_serial(X509 *x)
{
    unsigned char bytes[SERIAL_BYTES];
    BIGNUM *number;
    if (RAND_bytes(bytes, sizeof(bytes)) != 1)
        return 0;
    bytes[0] &= 0x7f; /* positive */
    number = BN_bin2bn(bytes, sizeof(bytes), NULL);
    int set = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x)) != NULL;
    BN_free(number);
    return set;
}

static int set_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    int set = extension && X509_add_ext(x, extension, -1);
    X509_EXTENSION_free(extension);
    return set;
}

/* Everything but names and extensions. NULL: no memory. */
static X509 *certificate_new(const char *name, EVP_PKEY *key, X509 *issuer, int days)
{
    X509 *x = X509_new();
    if (!x)
        return NULL;
    X509_NAME *subject = X509_get_subject_name(x);
    time_t now = (time_t)(unix_ms() / 1000);
    int made = X509_set_version(x, X509_VERSION_3) && set_serial(x) &&
               X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)name,
                                          -1, -1, 0) &&
               X509_set_issuer_name(x, issuer ? X509_get_subject_name(issuer) : subject) &&
               X509_time_adj_ex(X509_getm_notBefore(x), 0, -CLOCK_SKEW_S, &now) &&
               X509_time_adj_ex(X509_getm_notAfter(x), days, 0, &now) && X509_set_pubkey(x, key);
    if (made)
        return x;
    X509_free(x);
    return NULL;
}

static X509 *authority_new(EVP_PKEY *key)
{
    X509 *x = certificate_new("Harpoon private CA", key, NULL, CA_DAYS);
    if (x && set_extension(x, x, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
        set_extension(x, x, NID_key_usage, "critical,keyCertSign,cRLSign") &&
        set_extension(x, x, NID_subject_key_identifier, "hash") && X509_sign(x, key, EVP_sha256()))
        return x;
    X509_free(x);
    return NULL;
}

static X509 *leaf_new(const struct pki *p, const struct pki_request *request, EVP_PKEY *key,
                      GENERAL_NAMES *names)
{
    const char *usage = request->server ? "serverAuth,clientAuth" : "clientAuth";
    X509 *x = certificate_new(request->name, key, p->certificate, request->days);
    if (x && set_extension(x, p->certificate, NID_basic_constraints, "critical,CA:FALSE") &&
        set_extension(x, p->certificate, NID_key_usage, "critical,digitalSignature") &&
        set_extension(x, p->certificate, NID_ext_key_usage, usage) &&
        set_extension(x, p->certificate, NID_authority_key_identifier, "keyid") &&
        X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) == 1 &&
        X509_sign(x, p->key, EVP_sha256()))
        return x;
    X509_free(x);
    return NULL;
}

/* ---- the authority ---- */

/* What is there is never replaced, damaged or not: it may have signed others. */
static int is_there(const char *dir, const char *certificate_path, struct error *err)
{
    struct pki *p = NULL;
    int r = pki_open(dir, &p, err);
    pki_close(p);
    if (r == ERR_NOT_FOUND)
        return access(certificate_path, F_OK) == 0
                   ? error_set(err, ERR_INVALID, "%s is there without its ca.key", certificate_path)
                   : 0;
    return r < 0 ? r : 1;
}

static int authority_save(const char *certificate_path, const char *key_path, struct error *err)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = key ? authority_new(key) : NULL;
    int r = certificate ? pki_file_save_key(key_path, key, err) : failed(err, "the authority");
    if (r == 0)
        r = pki_file_save_certificate(certificate_path, certificate, err);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return r;
}

int pki_init(const char *dir, struct error *err)
{
    char certificate_path[PATH_MAX];
    char key_path[PATH_MAX];
    int r = path_in(dir, "ca.pem", certificate_path, err);
    if (r == 0)
        r = path_in(dir, "ca.key", key_path, err);
    if (r == 0)
        r = is_there(dir, certificate_path, err);
    if (r != 0)
        return r < 0 ? r : 0;
    r = pki_file_make_folder(dir, err);
    if (r == 0)
        r = authority_save(certificate_path, key_path, err);
    return r < 0 ? r : 1;
}

int pki_open(const char *dir, struct pki **ret, struct error *err)
{
    char path[PATH_MAX];
    struct pki *p = calloc(1, sizeof(*p));
    if (!p)
        return error_set(err, ERR_INTERNAL, "no memory");
    int r = path_in(dir, "ca.pem", path, err);
    if (r == 0)
        r = pki_file_load_certificate(path, &p->certificate, err);
    if (r == 0)
        r = path_in(dir, "ca.key", path, err);
    if (r == 0)
        r = pki_file_load_key(path, &p->key, err);
    if (r == 0 && X509_check_private_key(p->certificate, p->key) != 1)
        r = error_set(err, ERR_INVALID, "%s is not the key of ca.pem", path);
    p->dir = strdup(dir);
    if (r == 0 && !p->dir)
        r = error_set(err, ERR_INTERNAL, "no memory");
    if (r < 0) {
        pki_close(p);
        return r;
    }
    *ret = p;
    return 0;
}

struct pki *pki_close(struct pki *p)
{
    if (!p)
        return NULL;
    X509_free(p->certificate);
    EVP_PKEY_free(p->key);
    free(p->dir);
    free(p);
    return NULL;
}

/* ---- issuing ---- */

static int64_t end_unix_s(const X509 *x)
{
    struct tm tm;
    return ASN1_TIME_to_tm(X509_get0_notAfter(x), &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

/* Whether what is there can stay. */
static bool is_good(const struct pki *p, GENERAL_NAMES *names, const char *certificate_path,
                    const char *key_path)
{
    struct error ignored;
    X509 *x = NULL;
    EVP_PKEY *key = NULL;
    bool good = pki_file_load_certificate(certificate_path, &x, &ignored) == 0 &&
                pki_file_load_key(key_path, &key, &ignored) == 0 &&
                X509_check_private_key(x, key) == 1 && X509_verify(x, p->key) == 1 &&
                has_names(x, names) && end_unix_s(x) > unix_ms() / 1000 + RENEW_S;
    X509_free(x);
    EVP_PKEY_free(key);
    return good;
}

static int issue_now(struct pki *p, const struct pki_request *request, GENERAL_NAMES *names,
                     const char *certificate_path, const char *key_path, struct error *err)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = key ? leaf_new(p, request, key, names) : NULL;
    int r = x ? pki_file_save_key(key_path, key, err) : failed(err, "a certificate");
    if (r == 0)
        r = pki_file_save_certificate(certificate_path, x, err);
    X509_free(x);
    EVP_PKEY_free(key);
    return r;
}

int pki_issue(struct pki *p, const struct pki_request *request, const char *path, struct error *err)
{
    char certificate_path[PATH_MAX];
    char key_path[PATH_MAX];
    GENERAL_NAMES *names = NULL;
    if (snprintf(certificate_path, sizeof(certificate_path), "%s.pem", path) >= PATH_MAX ||
        snprintf(key_path, sizeof(key_path), "%s.key", path) >= PATH_MAX)
        return error_set(err, ERR_INVALID, "the path %.100s… is too long", path);
    int r = names_make(request, &names, err);
    if (r < 0)
        return r;
    if (!is_good(p, names, certificate_path, key_path)) {
        r = issue_now(p, request, names, certificate_path, key_path, err);
        if (r == 0)
            r = 1;
    }
    GENERAL_NAMES_free(names);
    return r;
}

static bool is_role(const char *role)
{
    static const char *const roles[] = {"harpoon", "scheduler", "eventrouter", "operator"};
    for (size_t i = 0; i < ARRAY_LEN(roles); i++)
        if (strcmp(role, roles[i]) == 0)
            return true;
    return false;
}

int pki_issue_role(struct pki *p, const char *role, const char *sans, int days, struct error *err)
{
    char uri[128];
    char all[1024];
    char path[PATH_MAX];
    if (!is_role(role))
        return error_set(err, ERR_INVALID,
                         "no role is named '%s': harpoon, scheduler, eventrouter or operator",
                         role);
    snprintf(uri, sizeof(uri), "spiffe://harpoon/role/%s", role);
    int n = snprintf(all, sizeof(all), "DNS:localhost,IP:127.0.0.1%s%s", sans && *sans ? "," : "",
                     sans ? sans : "");
    if (n >= (int)sizeof(all))
        return error_set(err, ERR_INVALID, "the list of names is too long");
    int r = path_in(p->dir, role, path, err);
    if (r < 0)
        return r;
    const struct pki_request request = {
        .name = role, .uri = uri, .sans = all, .server = true, .days = days};
    return pki_issue(p, &request, path, err);
}

static bool is_region(const char *region)
{
    size_t n = strspn(region, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return n > 0 && n < 32 && region[n] == '\0';
}

static int issue_hypervisor(struct pki *p, const char *region, uint64_t number, int days,
                            struct error *err)
{
    char name[64];
    char uri[128];
    char rest[128];
    char path[PATH_MAX];
    snprintf(name, sizeof(name), "%s hypervisor %" PRIu64, region, number);
    snprintf(uri, sizeof(uri), "spiffe://harpoon/region/%s/hypervisor/%" PRIu64, region, number);
    snprintf(rest, sizeof(rest), "agents/%s/%" PRIu64, region, number);
    int r = path_in(p->dir, rest, path, err);
    if (r < 0)
        return r;
    const struct pki_request request = {.name = name, .uri = uri, .days = days};
    return pki_issue(p, &request, path, err);
}

int pki_issue_hypervisors(struct pki *p, const char *region, uint64_t first, uint64_t last,
                          int days, struct error *err)
{
    char rest[64];
    char path[PATH_MAX];
    int issued = 0;
    if (!is_region(region))
        return error_set(err, ERR_INVALID, "'%.40s' is not a region: a-z, 0-9 and -, at most 31",
                         region);
    snprintf(rest, sizeof(rest), "agents/%s", region);
    int r = path_in(p->dir, rest, path, err);
    if (r == 0)
        r = pki_file_make_folder(path, err);
    for (uint64_t n = first; r >= 0 && n <= last; n++) {
        r = issue_hypervisor(p, region, n, days, err);
        if (r > 0)
            issued++;
    }
    return r < 0 ? r : issued;
}

/* ---- looking ---- */

static void find_uri(X509 *x, char *ret, size_t size)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    ret[0] = '\0';
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_URI && ret[0] == '\0')
            snprintf(ret, size, "%.*s", ASN1_STRING_length(name->d.uniformResourceIdentifier),
                     (const char *)ASN1_STRING_get0_data(name->d.uniformResourceIdentifier));
    }
    GENERAL_NAMES_free(names);
}

int pki_info_load(const char *path, struct pki_info *ret, struct error *err)
{
    X509 *x;
    int r = pki_file_load_certificate(path, &x, err);
    if (r < 0)
        return r;
    X509_NAME_oneline(X509_get_subject_name(x), ret->subject, sizeof(ret->subject));
    find_uri(x, ret->uri, sizeof(ret->uri));
    ret->end_unix_s = end_unix_s(x);
    X509_free(x);
    return 0;
}
