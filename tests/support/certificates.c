#include "tests/support/certificates.h"

#include "harpoonctl/pki.h"

#include <ftw.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct issued {
    struct issued *next;
    char certificate[160], key[160];
    struct rpc_tls tls;
};

struct certificates {
    char dir[64];
    char ca[96];
    struct pki *pki;
    struct issued *issued;
};

struct certificates *certificates_new(void)
{
    struct error err;
    struct certificates *c = calloc(1, sizeof(*c));
    assert_non_null(c);
    snprintf(c->dir, sizeof(c->dir), "/tmp/harpoon-test-XXXXXX");
    assert_non_null(mkdtemp(c->dir));
    snprintf(c->ca, sizeof(c->ca), "%s/ca.pem", c->dir);
    assert_int_equal(pki_init(c->dir, &err), 1);
    assert_int_equal(pki_open(c->dir, &c->pki, &err), 0);
    return c;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    UNUSED(st);
    UNUSED(flag);
    UNUSED(ftw);
    return remove(path);
}

struct certificates *certificates_free(struct certificates *c)
{
    if (!c)
        return NULL;
    nftw(c->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    while (c->issued) {
        struct issued *i = c->issued;
        c->issued = i->next;
        free(i);
    }
    pki_close(c->pki);
    free(c);
    return NULL;
}

static const struct rpc_tls *remember(struct certificates *c, const char *name)
{
    struct issued *i = calloc(1, sizeof(*i));
    assert_non_null(i);
    snprintf(i->certificate, sizeof(i->certificate), "%s/%s.pem", c->dir, name);
    snprintf(i->key, sizeof(i->key), "%s/%s.key", c->dir, name);
    i->tls = (struct rpc_tls){c->ca, i->certificate, i->key};
    i->next = c->issued;
    c->issued = i;
    return &i->tls;
}

const struct rpc_tls *certificates_role(struct certificates *c, const char *role)
{
    struct error err;
    assert_true(pki_issue_role(c->pki, role, NULL, 365, &err) >= 0);
    return remember(c, role);
}

const struct rpc_tls *certificates_hypervisor(struct certificates *c, const char *region,
                                              uint64_t number)
{
    struct error err;
    char name[96];
    assert_true(pki_issue_hypervisors(c->pki, region, number, number, 365, &err) >= 0);
    snprintf(name, sizeof(name), "agents/%s/%" PRIu64, region, number);
    return remember(c, name);
}
