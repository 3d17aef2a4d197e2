/* The words of events and what each type is: tables without a decision in them. */
#include "harpoon/event.h"
#include "lib/macros.h"

#include <stdio.h>
#include <string.h>

#define SECONDS(n) ((int64_t)(n)*1000)

static const struct event_policy policies[] = {
    {
        .type = EVENT_CREATE,
        .name = "create",
        .placed = true,
        .cancellable = true,
        .keeps_running = true,
        .max_attempts = 5,
        .deadline_ms = SECONDS(900),
        .pending_margin_ms = SECONDS(5),
        .dispatched_margin_ms = SECONDS(120),
        .running_margin_ms = SECONDS(120),
        .retry_max_ms = SECONDS(30),
    },
    {
        .type = EVENT_DESTROY,
        .name = "destroy",
        .redispatched = true,
        .ends_absent = true,
        .pending_margin_ms = SECONDS(5),
        .dispatched_margin_ms = SECONDS(30),
        .running_margin_ms = SECONDS(30),
        .retry_max_ms = SECONDS(300),
    },
    {
        .type = EVENT_CLEANUP,
        .name = "cleanup",
        .redispatched = true,
        .ends_absent = true,
        .pending_margin_ms = SECONDS(5),
        .dispatched_margin_ms = SECONDS(30),
        .running_margin_ms = SECONDS(30),
        .retry_max_ms = SECONDS(300),
    },
};

static const char *const states[] = {
    [EVENT_PENDING] = "pending", [EVENT_DISPATCHED] = "dispatched",
    [EVENT_RUNNING] = "running", [EVENT_SUCCEEDED] = "succeeded",
    [EVENT_FAILED] = "failed",   [EVENT_CANCELLED] = "cancelled",
};

static const char *const reasons[REASON_COUNT] = {
    [REASON_NONE] = "",
    [REASON_NO_ROOM] = "no_room",
    [REASON_NOT_CONNECTED] = "not_connected",
    [REASON_NO_ANSWER] = "no_answer",
    [REASON_BUSY] = "busy",
    [REASON_REFUSED] = "refused",
    [REASON_HOST_DISK_FULL] = "host_disk_full",
    [REASON_HYPERVISOR_UNREACHABLE] = "hypervisor_unreachable",
    [REASON_DEADLINE] = "deadline",
    [REASON_CANCELLED] = "cancelled",
    [REASON_FENCED] = "fenced",
    [REASON_OUT_OF_ATTEMPTS] = "out_of_attempts",
    [REASON_DRIVER_FAILED] = "driver_failed",
    [REASON_IMAGE_UNAVAILABLE] = "image_unavailable",
    [REASON_IMAGE_CORRUPT] = "image_corrupt",
    [REASON_FOREIGN_INSTALLATION] = "foreign_installation",
    [REASON_CONFLICT] = "conflict",
    [REASON_UNDECODABLE] = "undecodable",
    [REASON_OTHER] = "other",
};

const struct event_policy *event_policy_get(enum event_type type)
{
    for (size_t i = 0; i < ARRAY_LEN(policies); i++)
        if (policies[i].type == type)
            return &policies[i];
    return NULL;
}

bool event_is_final(enum event_state state)
{
    return state >= EVENT_SUCCEEDED;
}

const char *event_type_name(enum event_type type)
{
    const struct event_policy *policy = event_policy_get(type);

    return policy != NULL ? policy->name : "unknown";
}

const char *event_state_name(enum event_state state)
{
    return state >= EVENT_PENDING && state < ARRAY_LEN(states) ? states[state] : "unknown";
}

const char *event_reason_name(enum event_reason r)
{
    return r < REASON_COUNT ? reasons[r] : reasons[REASON_OTHER];
}

bool event_type_parse(const char *name, enum event_type *ret)
{
    for (size_t i = 0; i < ARRAY_LEN(policies); i++)
        if (strcmp(policies[i].name, name) == 0) {
            *ret = policies[i].type;
            return true;
        }
    return false;
}

bool event_state_parse(const char *name, enum event_state *ret)
{
    for (size_t i = EVENT_PENDING; i < ARRAY_LEN(states); i++)
        if (strcmp(states[i], name) == 0) {
            *ret = (enum event_state)i;
            return true;
        }
    return false;
}

enum event_reason event_reason_parse(const char *word)
{
    if (word == NULL || word[0] == 0)
        return REASON_NONE;
    for (size_t i = 1; i < REASON_COUNT; i++)
        if (strcmp(reasons[i], word) == 0)
            return (enum event_reason)i;
    return REASON_OTHER;
}

const char *event_queue_name(const char *region, enum event_type type, char ret[EVENT_QUEUE_NAME])
{
    snprintf(ret, EVENT_QUEUE_NAME, "events.%s.%s", region,
             type == EVENT_CREATE ? "create" : "action");
    return ret;
}
