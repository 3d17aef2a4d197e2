#include "lib/amqp/outgoing.h"

#include "lib/clock.h"

#include <stdlib.h>
#include <string.h>

static char *put(char **at, const char *text)
{
    char *start = *at;
    size_t size = strlen(text) + 1;
    memcpy(start, text, size);
    *at += size;
    return start;
}

static size_t text_size(const char *text)
{
    return text ? strlen(text) + 1 : 0;
}

struct outgoing *outgoing_new(const struct amqp_message *m)
{
    size_t texts = text_size(m->exchange) + text_size(m->routing_key) + text_size(m->message_id);
    struct outgoing *o = malloc(sizeof *o + texts + m->size);
    if (!o)
        return NULL;
    char *at = o->data;
    o->next = NULL;
    o->token = m->token;
    o->accepted_unix_ms = unix_ms();
    o->exchange = put(&at, m->exchange);
    o->routing_key = put(&at, m->routing_key);
    o->message_id = m->message_id ? put(&at, m->message_id) : NULL;
    o->body = (amqp_bytes_t){m->size, at};
    if (m->size)
        memcpy(at, m->body, m->size);
    return o;
}

void outgoing_push(struct outgoing_list *list, struct outgoing *o)
{
    if (list->last)
        list->last->next = o;
    else
        list->first = o;
    list->last = o;
}

struct outgoing *outgoing_pop(struct outgoing_list *list)
{
    struct outgoing *o = list->first;
    if (o) {
        list->first = o->next;
        if (!list->first)
            list->last = NULL;
        o->next = NULL;
    }
    return o;
}

size_t outgoing_put_back(struct outgoing_list *list, struct outgoing_list *front)
{
    size_t count = 0;
    if (!front->first)
        return 0;
    for (struct outgoing *o = front->first; o; o = o->next)
        count++;
    front->last->next = list->first;
    if (!list->last)
        list->last = front->last;
    list->first = front->first;
    *front = (struct outgoing_list){0};
    return count;
}
