#include "lib/amqp/flight.h"

#include <assert.h>
#include <stdlib.h>

bool flight_init(struct flight *f, size_t window)
{
    size_t size = 2;
    while (size < 2 * window) /* twice: confirms may come out of order */
        size *= 2;
    *f = (struct flight){.window = window, .size = size, .first = 1, .next = 1};
    f->slots = calloc(size, sizeof *f->slots);
    return f->slots != NULL;
}

void flight_fini(struct flight *f)
{
    assert(f->open == 0);
    free(f->slots);
    f->slots = NULL;
}

static struct flight_slot *slot_of(const struct flight *f, uint64_t tag)
{
    return &f->slots[tag & (f->size - 1)];
}

bool flight_has_room(const struct flight *f)
{
    return f->open < f->window && f->next - f->first < f->size;
}

uint64_t flight_add(struct flight *f, uint64_t token, int64_t now_mono_ms)
{
    assert(flight_has_room(f));
    *slot_of(f, f->next) =
        (struct flight_slot){.token = token, .sent_mono_ms = now_mono_ms, .open = true};
    f->open++;
    return f->next++;
}

static bool is_open(const struct flight *f, uint64_t tag)
{
    return tag >= f->first && tag < f->next && slot_of(f, tag)->open;
}

void flight_return(struct flight *f, uint64_t tag)
{
    if (is_open(f, tag))
        slot_of(f, tag)->returned = true;
}

static void settle_one(struct flight *f, uint64_t tag, enum amqp_outcome outcome,
                       flight_outcome_fn on_outcome, void *ctx)
{
    struct flight_slot *slot = slot_of(f, tag);
    if (!is_open(f, tag))
        return;
    slot->open = false;
    f->open--;
    on_outcome(ctx, slot->token, outcome);
}

static enum amqp_outcome outcome_of(const struct flight_slot *slot, bool accepted)
{
    if (!accepted)
        return AMQP_REJECTED;
    return slot->returned ? AMQP_RETURNED : AMQP_CONFIRMED;
}

void flight_settle(struct flight *f, uint64_t tag, bool multiple, bool accepted,
                   flight_outcome_fn on_outcome, void *ctx)
{
    uint64_t last = tag == 0 || tag >= f->next ? f->next - 1 : tag;
    if (!multiple && tag != last)
        return; /* a number that was never given */
    for (uint64_t t = multiple ? f->first : tag; t <= last; t++)
        settle_one(f, t, outcome_of(slot_of(f, t), accepted), on_outcome, ctx);
    while (f->first < f->next && !slot_of(f, f->first)->open)
        f->first++;
}

void flight_lose(struct flight *f, flight_outcome_fn on_outcome, void *ctx)
{
    for (uint64_t t = f->first; t < f->next; t++)
        settle_one(f, t, AMQP_LOST, on_outcome, ctx);
    f->first = f->next = 1;
}

int64_t flight_oldest_mono_ms(const struct flight *f)
{
    return f->open ? slot_of(f, f->first)->sent_mono_ms : 0;
}
