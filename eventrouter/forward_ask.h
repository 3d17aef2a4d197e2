/* eventrouter/forward_ask.h: the calls of forward.c: from items to a request, and from its reply
 * to the items. */
#pragma once

#include "eventrouter/forward.h"

/* One thing that an agent asks. */
struct forward_item {
    enum forward_kind kind;
    struct session *session; /* a reference; NULL: only to see whether Harpoon answers */
    uint64_t hypervisor_id;
    uint32_t generation; /* of an Attach */
    char journal_id[UUID_TEXT];
    ProtobufCMessage *message; /* owned: the Attach or the Report */
    uint64_t event_id;         /* of a Confirm or Report */
    uint32_t attempt;
    size_t size; /* bytes in the request, about */
    Harpoon__Job__V1__Answer answer;
};

void forward_item_free(struct forward_item *item); /* gives back what it has reserved */

/* Ask about `count` items and block until the deadline. The reply is the caller's:
 * protobuf_c_message_free_unpacked(.., NULL). A reply with another number of results is
 * ERR_INTERNAL. */
int forward_ask_attach(struct rpc_pool *harpoon, const char *region, struct forward_item **items,
                       size_t count, int64_t deadline_mono_ms,
                       Harpoon__Internal__V1__AttachReply **ret, struct error *err) MUST_CHECK;
/* Fill item->answer. */
int forward_ask_confirm(struct rpc_pool *harpoon, struct forward_item **items, size_t count,
                        int64_t deadline_mono_ms, struct error *err) MUST_CHECK;
int forward_ask_report(struct rpc_pool *harpoon, const char *region, struct forward_item **items,
                       size_t count, int64_t deadline_mono_ms, struct error *err) MUST_CHECK;
/* Sends the answers to the sessions that asked, a message for each. Changes the order of items. */
void forward_answer(struct forward_item **items, size_t count);
