/* lib/amqp/outgoing.h: messages waiting for their turn. */
#pragma once

#include "lib/amqp/amqp.h"

#include <amqp.h>

/* A message waiting for its turn; the texts lie behind one another in `data`. */
struct outgoing {
    struct outgoing *next;
    uint64_t token;
    int64_t accepted_unix_ms;
    const char *exchange, *routing_key, *message_id; /* message_id may be NULL */
    amqp_bytes_t body;
    char data[];
};

/* First in, first out; zero is empty. */
struct outgoing_list {
    struct outgoing *first, *last;
};

/* Copies the message, its acceptance being now; the caller frees it with free(). NULL: out of
 * memory. */
struct outgoing *outgoing_new(const struct amqp_message *m);
void outgoing_push(struct outgoing_list *list, struct outgoing *o);
struct outgoing *outgoing_pop(struct outgoing_list *list); /* NULL: empty */
/* Puts `front` in front of `list` and leaves it empty; returns how many there were. */
size_t outgoing_put_back(struct outgoing_list *list, struct outgoing_list *front);
