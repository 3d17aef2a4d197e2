#include "harpoon/worker/work.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE_VERSION 1

/* What must hold before anything is believed; says what does not. */
static int check(const Harpoon__Event__V1__Event *m, const char *region, struct error *err)
{
    const struct event_policy *policy = event_policy_get((enum event_type)m->type);

    if (m->version != MESSAGE_VERSION)
        return error_set(err, ERR_INVALID, "message version %" PRIu32 " is not known", m->version);
    if (m->event_id == 0 || m->droplet_id == 0)
        return error_set(err, ERR_INVALID, "message without an event or a droplet");
    if (policy == NULL)
        return error_set(err, ERR_INVALID, "event type %" PRIu32 " is not known", m->type);
    if (m->state < EVENT_PENDING || m->state > EVENT_RUNNING)
        return error_set(err, ERR_INVALID, "event state %" PRIu32 " is not one to publish",
                         m->state);
    if (m->attempt == 0 || m->attempt > UINT16_MAX)
        return error_set(err, ERR_INVALID, "attempt %" PRIu32, m->attempt);
    if (strcmp(m->region, region) != 0)
        return error_set(err, ERR_INVALID, "message of another region in this one's queue");
    if (m->params == NULL || m->params->droplet_uuid[0] == 0)
        return error_set(err, ERR_INVALID, "message without params");
    if (policy->placed && m->params->spec == NULL)
        return error_set(err, ERR_INVALID, "message without the droplet's spec");
    if (!policy->placed && m->hypervisor_id == 0)
        return error_set(err, ERR_INVALID, "message without the hypervisor it is for");
    return 0;
}

static int fill_row(const Harpoon__Event__V1__Event *m, struct event *ret, struct error *err)
{
    *ret = (struct event){
        .id = {m->event_id},
        .droplet = {m->droplet_id},
        .account = {m->account_id},
        .type = (enum event_type)m->type,
        .state = (enum event_state)m->state,
        .attempt = m->attempt,
        .hypervisor = {m->hypervisor_id},
        .created_ms = m->created_unix_ms,
        .deadline_ms = m->deadline_unix_ms,
        .waiting_since_ms = m->waiting_since_unix_ms,
    };
    strcpy(ret->region, m->region); /* equal to one of ours */
    ret->excluded_count = m->n_excluded_hypervisor_ids < EVENT_EXCLUDED_MAX
                              ? m->n_excluded_hypervisor_ids
                              : EVENT_EXCLUDED_MAX;
    if (ret->excluded_count > 0)
        memcpy(ret->excluded, m->excluded_hypervisor_ids,
               ret->excluded_count * sizeof *ret->excluded);
    return m->journal_id[0] != 0 ? uuid_parse(m->journal_id, &ret->journal, err) : 0;
}

int work_decode(const void *bytes, size_t size, const char *region, struct work **ret,
                event_id *ret_event, struct error *err)
{
    struct work *w = calloc(1, sizeof *w);

    ret_event->v = 0;
    if (w == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    w->message = harpoon__event__v1__event__unpack(NULL, size, bytes);
    int r = w->message != NULL ? 0 : error_set(err, ERR_INVALID, "message cannot be decoded");
    if (r == 0) {
        ret_event->v = w->message->event_id;
        r = check(w->message, region, err);
    }
    if (r == 0)
        r = fill_row(w->message, &w->row, err);
    if (r < 0) {
        work_free(w);
        return r;
    }
    w->target = w->row.hypervisor;
    w->published_ms = w->message->published_unix_ms;
    w->size = size;
    *ret = w;
    return 0;
}

struct work *work_free(struct work *w)
{
    if (w != NULL) {
        if (w->message != NULL)
            harpoon__event__v1__event__free_unpacked(w->message, NULL);
        free(w);
    }
    return NULL;
}
