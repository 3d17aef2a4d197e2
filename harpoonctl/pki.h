/* harpoonctl/pki.h: a private certificate authority in a folder: ca.pem, ca.key, and the
 * certificates of the control plane's programs and hypervisors. P-256, signed by the CA itself.
 * Who holds a certificate is its URI name (lib/rpc/rpc.h). Threads: one at a time. */
#pragma once

#include "lib/error.h"

#include <stdbool.h>
#include <stdint.h>

struct pki; /* an open authority */

/* Makes the folder and the authority (10 years, key readable by its owner alone). 1: made. 0: there
 * already, untouched. */
int pki_init(const char *dir, struct error *err) MUST_CHECK;
/* ERR_NOT_FOUND: no authority there. ERR_INVALID: damaged. The caller ends it with pki_close(). */
int pki_open(const char *dir, struct pki **ret, struct error *err) MUST_CHECK;
struct pki *pki_close(struct pki *p); /* NULL is fine; gives NULL */

struct pki_request {
    const char *name; /* the subject's common name */
    const char *uri;
    const char *sans; /* further names, "DNS:x,IP:y"; NULL: none */
    bool server;      /* may be connected to, not only connect */
    int days;
};
/* Writes PATH.pem and PATH.key. 1: issued. 0: what is there is of this authority, for these names
 * and lasts another 30 days; kept. ERR_INVALID: a name is none. */
int pki_issue(struct pki *p, const struct pki_request *request, const char *path,
              struct error *err) MUST_CHECK;
/* DIR/ROLE.pem: as pki_issue. `role` is harpoon, scheduler, eventrouter or operator; `sans` is
 * added to localhost and 127.0.0.1. */
int pki_issue_role(struct pki *p, const char *role, const char *sans, int days,
                   struct error *err) MUST_CHECK;
/* DIR/agents/REGION/N.pem for first … last. The number issued; the others were kept. */
int pki_issue_hypervisors(struct pki *p, const char *region, uint64_t first, uint64_t last,
                          int days, struct error *err) MUST_CHECK;

struct pki_info {
    char subject[256];
    char uri[256];      /* empty: none */
    int64_t end_unix_s; /* not valid after */
};
int pki_info_load(const char *path, struct pki_info *ret, struct error *err) MUST_CHECK;
