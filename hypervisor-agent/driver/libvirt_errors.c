#include "hypervisor-agent/driver/libvirt_errors.h"

#include "lib/macros.h"

#include <errno.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <stdio.h>
#include <string.h>

enum {
    ANY = -1,
    ON_LOOKUP = 1 << LIBVIRT_LOOKUP,
    ON_DEFINE = 1 << LIBVIRT_DEFINE,
    ON_START = 1 << LIBVIRT_START,
    ON_DESTROY = 1 << LIBVIRT_DESTROY,
    ON_UNDEFINE = 1 << LIBVIRT_UNDEFINE,
    ON_MAKING = ON_DEFINE | ON_START,
    ON_REMOVING = ON_DESTROY | ON_UNDEFINE,
    ON_ALL = ON_LOOKUP | ON_MAKING | ON_REMOVING,
};

struct rule {
    int steps;
    int code;
    int domain;
    int error_number;
    enum libvirt_verdict verdict;
};

/* The first that fits. What fits none: making fails for good, so that another host is tried;
 * looking and removing are tried again, for a removal must not be given up. */
static const struct rule rules[] = {
    /* The connection: whether the call happened is unknown. */
    {ON_ALL, VIR_ERR_SYSTEM_ERROR, VIR_FROM_RPC, ANY, VERDICT_RETRY},
    {ON_ALL, VIR_ERR_INTERNAL_ERROR, VIR_FROM_RPC, ANY, VERDICT_RETRY},
    {ON_ALL, VIR_ERR_SYSTEM_ERROR, VIR_FROM_REMOTE, ANY, VERDICT_RETRY},
    {ON_ALL, VIR_ERR_INTERNAL_ERROR, VIR_FROM_REMOTE, ANY, VERDICT_RETRY},
    {ON_ALL, VIR_ERR_RPC, ANY, ANY, VERDICT_RETRY},
    {ON_ALL, VIR_ERR_NO_CONNECT, ANY, ANY, VERDICT_RETRY},
    {ON_ALL, VIR_ERR_INVALID_CONN, ANY, ANY, VERDICT_RETRY},

    /* Busy, short of something for a moment. */
    {ON_ALL, VIR_ERR_OPERATION_TIMEOUT, ANY, ANY, VERDICT_RETRY},
    {ON_ALL, VIR_ERR_RESOURCE_BUSY, ANY, ANY, VERDICT_RETRY},
    {ON_ALL, VIR_ERR_OPERATION_ABORTED, ANY, ANY, VERDICT_RETRY},
    {ON_ALL, VIR_ERR_NO_MEMORY, ANY, ANY, VERDICT_RETRY},
    {ON_ALL, VIR_ERR_SYSTEM_ERROR, ANY, EAGAIN, VERDICT_RETRY},
    {ON_ALL, VIR_ERR_SYSTEM_ERROR, ANY, EINTR, VERDICT_RETRY},

    /* The domain is not there. */
    {ON_LOOKUP | ON_REMOVING, VIR_ERR_NO_DOMAIN, ANY, ANY, VERDICT_DONE},
    {ON_MAKING, VIR_ERR_NO_DOMAIN, ANY, ANY, VERDICT_LOOK},

    /* The domain is in another state than it was: running on start, stopped on destroy. */
    {ON_DESTROY, VIR_ERR_OPERATION_INVALID, ANY, ANY, VERDICT_DONE},
    {ON_ALL, VIR_ERR_OPERATION_INVALID, ANY, ANY, VERDICT_LOOK},
    {ON_START, VIR_ERR_INTERNAL_ERROR, VIR_FROM_TEST, ANY, VERDICT_LOOK},

    /* The uuid or the name is another domain's. */
    {ON_DEFINE, VIR_ERR_OPERATION_FAILED, ANY, ANY, VERDICT_CONFLICT},
    {ON_DEFINE, VIR_ERR_DOM_EXIST, ANY, ANY, VERDICT_CONFLICT},
};

void libvirt_failure_take(struct libvirt_failure *ret)
{
    const virError *e = virGetLastError();

    memset(ret, 0, sizeof(*ret));
    if (e != NULL) {
        ret->code = e->code;
        ret->domain = e->domain;
        ret->error_number = e->code == VIR_ERR_SYSTEM_ERROR ? e->int1 : 0;
        snprintf(ret->message, sizeof(ret->message), "%s", e->message != NULL ? e->message : "");
        for (char *p = ret->message; *p != 0; p++)
            if ((unsigned char)*p < ' ')
                *p = ' ';
    }
    virResetLastError();
}

enum libvirt_verdict libvirt_verdict_of(enum libvirt_step step,
                                        const struct libvirt_failure *failure)
{
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        const struct rule *r = &rules[i];
        if ((r->steps & 1 << step) != 0 && r->code == failure->code &&
            (r->domain == ANY || r->domain == failure->domain) &&
            (r->error_number == ANY || r->error_number == failure->error_number))
            return r->verdict;
    }
    return (ON_MAKING & 1 << step) != 0 ? VERDICT_FATAL : VERDICT_RETRY;
}

bool libvirt_failure_is_connection(const struct libvirt_failure *failure)
{
    bool wire = failure->domain == VIR_FROM_RPC || failure->domain == VIR_FROM_REMOTE;

    return failure->code == VIR_ERR_INVALID_CONN || failure->code == VIR_ERR_NO_CONNECT ||
           failure->code == VIR_ERR_RPC ||
           (wire &&
            (failure->code == VIR_ERR_SYSTEM_ERROR || failure->code == VIR_ERR_INTERNAL_ERROR));
}

const char *libvirt_failure_reason(const struct libvirt_failure *failure)
{
    if (failure->error_number == ENOSPC || failure->error_number == EDQUOT)
        return "host_disk_full";
    if (failure->error_number == ENOMEM)
        return "host_memory_full";
    return "hypervisor_error";
}

const char *libvirt_step_name(enum libvirt_step step)
{
    switch (step) {
    case LIBVIRT_LOOKUP:
        return "look up";
    case LIBVIRT_DEFINE:
        return "define";
    case LIBVIRT_START:
        return "start";
    case LIBVIRT_DESTROY:
        return "destroy";
    case LIBVIRT_UNDEFINE:
        return "undefine";
    }
    return "?";
}
