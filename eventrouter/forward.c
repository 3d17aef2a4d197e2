#include "eventrouter/forward.h"

#include "eventrouter/forward_ask.h"
#include "eventrouter/metrics.h"
#include "lib/backoff.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/memory.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#define MAX_BATCH      500
#define MAX_WAITING    20000 /* confirms, and reports */
#define SPACING_MS     5
#define CALL_MS        3000
#define REQUEST_BYTES  (1024 * 1024)
#define AGAIN_BASE_MS  200
#define AGAIN_CAP_MS   5000
#define PROBE_AFTER_MS 2000

struct forward {
    struct forward_options options;
    struct rpc_pool *harpoon;
    struct batcher *batchers[FORWARD_KINDS];
    atomic_bool stopping;

    pthread_mutex_t lock;        /* guards what follows */
    struct forward_item **again; /* Attaches to be asked again */
    size_t again_count, again_room;
    int64_t again_mono_ms; /* when */
    struct backoff backoff;
    bool reaches, told_away;
    int64_t asked_mono_ms; /* the last answer or failure */
    char why[160];         /* it does not reach Harpoon */
};

const char *forward_kind_name(enum forward_kind kind)
{
    static const char *const names[FORWARD_KINDS] = {"attach", "confirm", "report"};
    return names[kind];
}

/* ---- does Harpoon answer? ---- */

static void note_outcome(struct forward *f, int r, const struct error *err)
{
    bool answers = r == 0 || r == ERR_INVALID || r == ERR_BUSY; /* it said so itself */

    pthread_mutex_lock(&f->lock);
    bool news = answers ? !f->reaches : !f->told_away;
    f->reaches = answers;
    f->told_away = !answers;
    f->asked_mono_ms = mono_ms();
    snprintf(f->why, sizeof(f->why), "%.150s", answers ? "" : err->message);
    pthread_mutex_unlock(&f->lock);
    if (news && answers)
        log_info("harpoon answers");
    if (news && !answers)
        log_warn("harpoon does not answer", F_ERROR(err));
}

bool forward_reaches_harpoon(struct forward *f, char *why, size_t why_size)
{
    LOCK_SCOPE(&f->lock);
    if (!f->reaches)
        snprintf(why, why_size, "%s", f->why[0] ? f->why : "not asked yet");
    return f->reaches;
}

/* ---- Attach, until it is answered ---- */

static void again_add_locked(struct forward *f, struct forward_item *item)
{
    if (f->again_count == f->again_room) {
        f->again_room = f->again_room ? f->again_room * 2 : 64;
        f->again = must_resize(f->again, f->again_room, sizeof(f->again[0]));
    }
    f->again[f->again_count++] = item;
}

static void again_later(struct forward *f, struct forward_item **items, size_t count)
{
    LOCK_SCOPE(&f->lock);
    if (f->again_count == 0)
        f->again_mono_ms = mono_ms() + backoff_next_ms(&f->backoff);
    for (size_t i = 0; i < count; i++)
        again_add_locked(f, items[i]);
}

/* `reply` NULL: Harpoon could not be asked. */
static void finish_attach(struct forward *f, struct forward_item **items, size_t count,
                          Harpoon__Internal__V1__AttachReply *reply)
{
    for (size_t i = 0; i < count; i++)
        f->options.on_attached(f->options.ctx, items[i]->session, items[i]->generation,
                               reply ? reply->results[i] : NULL);
    if (!reply) {
        again_later(f, items, count);
        return;
    }
    protobuf_c_message_free_unpacked(&reply->base, NULL);
    for (size_t i = 0; i < count; i++)
        forward_item_free(items[i]);
    LOCK_SCOPE(&f->lock);
    backoff_reset(&f->backoff);
}

/* ---- Confirm and Report, once ---- */

static void finish_asked(struct forward_item **items, size_t count, bool answered)
{
    if (answered)
        forward_answer(items, count);
    for (size_t i = 0; i < count; i++)
        forward_item_free(items[i]);
}

/* ---- batches ---- */

static int ask(struct forward *f, enum forward_kind kind, struct forward_item **items, size_t count,
               Harpoon__Internal__V1__AttachReply **ret, struct error *err)
{
    int64_t deadline_mono_ms = mono_ms() + CALL_MS;

    switch (kind) {
    case FORWARD_ATTACH:
        return forward_ask_attach(f->harpoon, f->options.region, items, count, deadline_mono_ms,
                                  ret, err);
    case FORWARD_CONFIRM:
        return forward_ask_confirm(f->harpoon, items, count, deadline_mono_ms, err);
    case FORWARD_REPORT:
        return forward_ask_report(f->harpoon, f->options.region, items, count, deadline_mono_ms,
                                  err);
    case FORWARD_KINDS:
        break;
    }
    return error_set(err, ERR_INTERNAL, "no such kind");
}

/* One request; it takes the items over. `count` 0: only to see whether Harpoon answers. */
static void flush_request(struct forward *f, enum forward_kind kind, struct forward_item **items,
                          size_t count)
{
    Harpoon__Internal__V1__AttachReply *reply = NULL;
    struct error err;
    int64_t began = mono_ms();
    int r = ask(f, kind, items, count, &reply, &err);

    note_outcome(f, r, &err);
    metric_observe(M_FORWARD_SECONDS, (double)(mono_ms() - began) / 1000, forward_kind_name(kind),
                   NULL);
    if (r == ERR_INVALID && count > 1) {
        /* One of them is not understood; it is not to cost the others their answer. */
        flush_request(f, kind, items, count / 2);
        flush_request(f, kind, items + count / 2, count - count / 2);
        return;
    }
    metric_add(M_FORWARDED, (double)count, forward_kind_name(kind), r == 0 ? "answered" : "failed",
               NULL);
    if (kind == FORWARD_ATTACH)
        finish_attach(f, items, count, reply);
    else
        finish_asked(items, count, r == 0);
}

/* Nobody waits for it any more. */
static bool is_stale(struct forward *f, const struct forward_item *item)
{
    if (atomic_load(&f->stopping) || !item->session)
        return true;
    return item->kind == FORWARD_ATTACH &&
           !sessions_awaits(f->options.sessions, item->session, item->generation);
}

static void flush(struct forward *f, enum forward_kind kind, void **batch, size_t count)
{
    struct forward_item *items[MAX_BATCH];
    size_t kept = 0;
    bool probe = false;

    for (size_t i = 0; i < count; i++) {
        struct forward_item *item = batch[i];
        probe = probe || !item->session;
        if (is_stale(f, item))
            forward_item_free(item);
        else
            items[kept++] = item;
    }
    /* No request is larger than Harpoon takes, whatever agents say. */
    for (size_t from = 0, to; from < kept; from = to) {
        size_t size = items[from]->size;
        for (to = from + 1; to < kept && size + items[to]->size <= REQUEST_BYTES; to++)
            size += items[to]->size;
        flush_request(f, kind, items + from, to - from);
    }
    if (kept == 0 && probe && !atomic_load(&f->stopping))
        flush_request(f, kind, items, 0);
}

static void on_flush_attach(void *ctx, void **items, size_t count)
{
    flush(ctx, FORWARD_ATTACH, items, count);
}

static void on_flush_confirm(void *ctx, void **items, size_t count)
{
    flush(ctx, FORWARD_CONFIRM, items, count);
}

static void on_flush_report(void *ctx, void **items, size_t count)
{
    flush(ctx, FORWARD_REPORT, items, count);
}

/* ---- from the agents ---- */

static struct forward_item *item_new(enum forward_kind kind, struct session *s)
{
    struct forward_item *item = must_calloc(1, sizeof(*item));

    item->kind = kind;
    item->session = session_ref(s);
    item->hypervisor_id = session_hypervisor(s);
    return item;
}

/* By way of bytes: there is no other copy of a message. */
static ProtobufCMessage *message_copy(const ProtobufCMessage *m, size_t *ret_size)
{
    size_t size = protobuf_c_message_get_packed_size(m);
    uint8_t *bytes = must_calloc(size, 1);

    protobuf_c_message_pack(m, bytes);
    ProtobufCMessage *copy = protobuf_c_message_unpack(m->descriptor, NULL, size, bytes);
    if (!copy)
        abort(); /* it was decoded a moment ago: there is no memory */
    free(bytes);
    *ret_size = size + 64;
    return copy;
}

static bool submit(struct forward *f, struct forward_item *item)
{
    struct error err;
    enum forward_kind kind = item->kind;

    if (batcher_submit(f->batchers[kind], item, &err) == 0)
        return true;
    metric_add(M_FORWARDED, 1, forward_kind_name(kind), "refused", NULL);
    return false;
}

bool forward_attach(struct forward *f, struct session *s, uint32_t generation,
                    const Harpoon__Agent__V1__Attach *attach)
{
    if (!session_reserve_attach(s))
        return false;
    struct forward_item *item = item_new(FORWARD_ATTACH, s);
    item->generation = generation;
    item->message = message_copy(&attach->base, &item->size);
    if (!submit(f, item))
        again_later(f, &item, 1);
    return true;
}

void forward_confirm(struct forward *f, struct session *s, const Harpoon__Agent__V1__Refs *refs)
{
    struct session_view view;

    if (!session_reserve(s, (unsigned)refs->n_refs)) {
        metric_add(M_FORWARDED, (double)refs->n_refs, "confirm", "refused", NULL);
        return;
    }
    sessions_view(f->options.sessions, s, &view);
    for (size_t i = 0; i < refs->n_refs; i++) {
        struct forward_item *item = item_new(FORWARD_CONFIRM, s);
        item->event_id = refs->refs[i]->event_id;
        item->attempt = refs->refs[i]->attempt;
        item->size = 96;
        memcpy(item->journal_id, view.journal_id, sizeof(item->journal_id));
        if (!submit(f, item))
            forward_item_free(item);
    }
}

void forward_reports(struct forward *f, struct session *s,
                     const Harpoon__Agent__V1__Reports *reports)
{
    struct session_view view;

    if (!session_reserve(s, (unsigned)reports->n_reports)) {
        metric_add(M_FORWARDED, (double)reports->n_reports, "report", "refused", NULL);
        return;
    }
    sessions_view(f->options.sessions, s, &view);
    for (size_t i = 0; i < reports->n_reports; i++) {
        struct forward_item *item = item_new(FORWARD_REPORT, s);
        item->event_id = reports->reports[i]->ref->event_id;
        item->attempt = reports->reports[i]->ref->attempt;
        item->message = message_copy(&reports->reports[i]->base, &item->size);
        memcpy(item->journal_id, view.journal_id, sizeof(item->journal_id));
        if (!submit(f, item))
            forward_item_free(item);
    }
}

/* ---- by the clock ---- */

static size_t again_take(struct forward *f, int64_t now_mono_ms, struct forward_item ***ret)
{
    LOCK_SCOPE(&f->lock);
    size_t count = f->again_count;

    if (count == 0 || now_mono_ms < f->again_mono_ms)
        return 0;
    *ret = f->again;
    f->again = NULL;
    f->again_count = f->again_room = 0;
    return count;
}

static void probe(struct forward *f, int64_t now_mono_ms)
{
    pthread_mutex_lock(&f->lock);
    bool due = now_mono_ms - f->asked_mono_ms >= PROBE_AFTER_MS;
    if (due)
        f->asked_mono_ms = now_mono_ms;
    pthread_mutex_unlock(&f->lock);
    if (!due)
        return;
    struct forward_item *item = must_calloc(1, sizeof(*item));
    item->kind = FORWARD_CONFIRM;
    if (!submit(f, item))
        forward_item_free(item);
}

void forward_tick(struct forward *f, int64_t now_mono_ms)
{
    struct forward_item **items = NULL;
    size_t count = again_take(f, now_mono_ms, &items);

    for (size_t i = 0; i < count; i++)
        if (!submit(f, items[i]))
            again_later(f, &items[i], 1);
    free(items);
    probe(f, now_mono_ms);
}

void forward_stats_get(struct forward *f, enum forward_kind kind, struct batcher_stats *ret)
{
    batcher_stats_get(f->batchers[kind], ret);
}

/* ---- start and stop ---- */

static int start_batchers(struct forward *f, struct error *err)
{
    static void (*const flushes[FORWARD_KINDS])(void *, void **, size_t) = {on_flush_attach,
                                                                            on_flush_confirm,
                                                                            on_flush_report};

    for (int kind = 0; kind < FORWARD_KINDS; kind++) {
        const struct batcher_options o = {
            .name = forward_kind_name((enum forward_kind)kind),
            .max_batch = MAX_BATCH,
            .max_queued = kind == FORWARD_ATTACH ? f->options.max_attaches : MAX_WAITING,
            .spacing_ms = SPACING_MS,
            .flush = flushes[kind],
            .ctx = f,
        };
        int r = batcher_start(&o, &f->batchers[kind], err);
        if (r < 0)
            return r;
    }
    return 0;
}

int forward_start(const struct forward_options *options, struct forward **ret, struct error *err)
{
    struct forward *f = must_calloc(1, sizeof(*f));

    f->options = *options;
    pthread_mutex_init(&f->lock, NULL);
    backoff_init(&f->backoff, AGAIN_BASE_MS, AGAIN_CAP_MS, 0);
    int r = rpc_pool_new(options->harpoon, &options->tls, &f->harpoon, err);
    if (r == 0)
        r = start_batchers(f, err);
    if (r < 0) {
        forward_stop(f);
        return r;
    }
    *ret = f;
    return 0;
}

struct forward *forward_stop(struct forward *f)
{
    if (!f)
        return NULL;
    atomic_store(&f->stopping, true);
    for (int kind = 0; kind < FORWARD_KINDS; kind++)
        batcher_stop(f->batchers[kind]);
    for (size_t i = 0; i < f->again_count; i++)
        forward_item_free(f->again[i]);
    free(f->again);
    rpc_pool_free(f->harpoon);
    pthread_mutex_destroy(&f->lock);
    free(f);
    return NULL;
}
