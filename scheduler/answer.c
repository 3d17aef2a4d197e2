#include "scheduler/answer.h"

#include <stdio.h>

void elsewhere_get_locked(const struct region *r, struct elsewhere *ret)
{
    harpoon__scheduler__v1__leader__init(&ret->message);
    snprintf(ret->address, sizeof(ret->address), "%s", r->leader);
    ret->message.elsewhere = true;
    ret->message.address = ret->address;
}

void elsewhere_get(struct region *r, struct elsewhere *ret)
{
    LOCK_SCOPE(&r->lock);
    elsewhere_get_locked(r, ret);
}

struct region *request_region(const struct scheduler *s, const char *name, struct error *err)
{
    struct region *r = regions_find(&s->regions, name);

    if (!r)
        error_set(err, ERR_INVALID, "region: \"%.40s\" is not one of this scheduler's", name);
    return r;
}

void answer_error(struct rpc_call *call, int code, const char *sentence)
{
    struct error err;

    error_set(&err, code, "%s", sentence);
    rpc_fail(call, &err);
}

void answer_uncommitted(struct rpc_call *call)
{
    answer_error(call, ERR_UNAVAILABLE, "not, or not known to be, committed: ask again");
}

bool reserve_or_answer(struct scheduler *s, struct rpc_call *call, size_t cost)
{
    if (flusher_reserve(s->flusher, cost))
        return true;
    answer_error(call, ERR_BUSY, "too many changes wait for their commit");
    return false;
}
