/* harpoon/store/keys.h: the SSH keys of accounts. Parsing is pure; those with a `db` block on it.
 */
#pragma once

#include "lib/error.h"
#include "lib/ids.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sql;

#define KEY_FINGERPRINT 48 /* 16 pairs of hex digits with colons, NUL */
#define KEY_TEXT_MAX    8192

struct ssh_key {
    uint64_t id;
    char *name, *public_key; /* malloc'ed */
    char fingerprint[KEY_FINGERPRINT];
};
void ssh_key_clear(struct ssh_key *key);

struct ssh_key_list {
    struct ssh_key *keys;
    size_t count;
    uint64_t total;
};
void ssh_key_list_clear(struct ssh_key_list *list);

/* The MD5 of the decoded key in an authorized_keys line ("ssh-ed25519 AAAA… comment").
 * ERR_INVALID: it is none. */
int key_fingerprint(const char *public_key, char ret[KEY_FINGERPRINT],
                    struct error *err) MUST_CHECK;
/* "3b:16:…", hex digits in any case; ret in lower case. */
bool key_is_fingerprint(const char *text, char ret[KEY_FINGERPRINT]);

/* How a request names a key: by id, or when that is 0 by fingerprint. */
struct key_name {
    uint64_t id;
    char fingerprint[KEY_FINGERPRINT];
};
/* A number above 0 or a fingerprint. False: neither. */
bool key_name_parse(const char *text, struct key_name *ret);

int keys_list(struct sql *db, account_id account, uint64_t offset, size_t limit,
              struct ssh_key_list *ret, struct error *err) MUST_CHECK;
/* ERR_NOT_FOUND. *ret is the caller's: ssh_key_clear(). */
int keys_find(struct sql *db, account_id account, const struct key_name *name, struct ssh_key *ret,
              struct error *err) MUST_CHECK;
/* `key` with all but the id, which it sets. ERR_CONFLICT: its fingerprint is in use. */
int keys_add(struct sql *db, account_id account, struct ssh_key *key, uint64_t id,
             struct error *err) MUST_CHECK;
/* ERR_NOT_FOUND. */
int keys_rename(struct sql *db, account_id account, uint64_t id, const char *name,
                struct error *err) MUST_CHECK;
int keys_remove(struct sql *db, account_id account, uint64_t id, struct error *err) MUST_CHECK;
