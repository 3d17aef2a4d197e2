/* hypervisor-agent/driver/libvirt_connection.h: one connection to libvirt, kept open. The event
 * loop it needs has a thread of its own; another opens it again when it dies. Threads: any. Blocks:
 * taking a connection never does, what is done with it may. */
#pragma once

#include "lib/error.h"

#include <libvirt/libvirt.h>
#include <limits.h>
#include <stdbool.h>

/* What differs between the places a URI can lead to. */
struct libvirt_kind {
    const char *prefix;
    bool embedded;           /* QEMU's driver runs in this process, out of a folder of ours */
    bool remote;             /* a daemon is spoken to: keep-alive */
    bool has_files;          /* guests have disks, seeds and consoles */
    const char *domain_type; /* NULL: what the configuration says */
    unsigned define_flags, undefine_flags;
};

/* NULL: not a URI this driver knows. */
const struct libvirt_kind *libvirt_kind_of(const char *uri);
/* The folder in "qemu:///embed?root=FOLDER". ERR_INVALID: none, not absolute, or so long that
 * sockets in it would have no room for their names. */
int libvirt_embed_root(const char *uri, char ret[PATH_MAX], struct error *err) MUST_CHECK;
/* Makes that folder and the configuration QEMU's driver needs in it, unless there is one. Of root
 * libvirt wants that the user and group libvirt-qemu exist (ERR_INVALID), though guests run as
 * root; an ordinary user's guests run as that user. */
int libvirt_embed_prepare(const char *root, struct error *err) MUST_CHECK;

struct libvirt_connection;

/* Starts the threads and tries to connect, once; when that fails it is tried again in the
 * background, but for an embedded one: ERR_UNAVAILABLE. `uri` is copied. The caller owns *ret. */
int libvirt_connection_open(const char *uri, struct libvirt_connection **ret,
                            struct error *err) MUST_CHECK;
/* Every connection taken must have been given back. NULL is fine; gives NULL. */
struct libvirt_connection *libvirt_connection_close(struct libvirt_connection *c);
/* A reference to the connection, for libvirt_connection_give(). ERR_UNAVAILABLE: there is none now.
 */
int libvirt_connection_take(struct libvirt_connection *c, virConnectPtr *ret,
                            struct error *err) MUST_CHECK;
void libvirt_connection_give(virConnectPtr conn);
/* A call on `conn` failed as if it were dead: the keeper opens another if that is so. */
void libvirt_connection_suspect(struct libvirt_connection *c, virConnectPtr conn);
