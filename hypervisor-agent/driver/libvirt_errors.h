/* hypervisor-agent/driver/libvirt_errors.h: what a failed call to libvirt means for the step that
 * made it. Numbers decide, never texts. Pure but for libvirt_failure_take(). */
#pragma once

#include <stdbool.h>

enum libvirt_step {
    LIBVIRT_LOOKUP, /* by uuid or name, and reading what is found */
    LIBVIRT_DEFINE,
    LIBVIRT_START,
    LIBVIRT_DESTROY,
    LIBVIRT_UNDEFINE,
};

enum libvirt_verdict {
    VERDICT_DONE,     /* what was wanted is so already */
    VERDICT_LOOK,     /* things are not as they were: look again, then decide */
    VERDICT_RETRY,    /* not now, or nobody knows whether it happened: later */
    VERDICT_CONFLICT, /* something that is not ours is in the way */
    VERDICT_FATAL,    /* it will not work on this host */
};

/* libvirt's last error of this thread, which the next call to libvirt would clear. */
struct libvirt_failure {
    int code;         /* virErrorNumber; 0: none */
    int domain;       /* virErrorDomain: which part of libvirt speaks */
    int error_number; /* errno, of VIR_ERR_SYSTEM_ERROR; otherwise 0 */
    char message[200];
};

/* Takes the error of the call that has just failed in this thread, and clears it. */
void libvirt_failure_take(struct libvirt_failure *ret);
enum libvirt_verdict libvirt_verdict_of(enum libvirt_step step,
                                        const struct libvirt_failure *failure);
/* Whether the connection broke under the call: reopen it. */
bool libvirt_failure_is_connection(const struct libvirt_failure *failure);
/* The word for a fatal one: host_disk_full, host_memory_full, hypervisor_error. */
const char *libvirt_failure_reason(const struct libvirt_failure *failure);
const char *libvirt_step_name(enum libvirt_step step);
