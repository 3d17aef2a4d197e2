#include "harpoon/api/message.h"

#define MESSAGE_VERSION 1

void message_fill(const struct event *event, char journal_text[UUID_TEXT], int64_t now_ms,
                  Harpoon__Event__V1__Event *ret)
{
    *ret = (Harpoon__Event__V1__Event)HARPOON__EVENT__V1__EVENT__INIT;
    ret->version = MESSAGE_VERSION;
    ret->event_id = event->id.v;
    ret->droplet_id = event->droplet.v;
    ret->account_id = event->account.v;
    ret->type = (uint32_t)event->type;
    ret->region = (char *)(uintptr_t)event->region; /* only read */
    ret->state = (uint32_t)event->state;
    ret->attempt = event->attempt;
    ret->hypervisor_id = event->hypervisor.v;
    if (!uuid_is_zero(&event->journal)) {
        uuid_format(&event->journal, journal_text);
        ret->journal_id = journal_text;
    }
    ret->created_unix_ms = event->created_ms;
    ret->deadline_unix_ms = event->deadline_ms;
    ret->waiting_since_unix_ms = event->waiting_since_ms;
    ret->published_unix_ms = now_ms;
    ret->n_excluded_hypervisor_ids = event->excluded_count;
    ret->excluded_hypervisor_ids = (uint64_t *)(uintptr_t)event->excluded;
}
