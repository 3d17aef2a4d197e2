/* The flusher: creates and deletes of many requests, committed together, then published. */
#include "harpoon/api/internal.h"
#include "harpoon/api/message.h"
#include "lib/clock.h"
#include "lib/log.h"

#include <stdlib.h>
#include <string.h>

#define BATCH        256
#define SPACING_MS   5
#define DELETE_BATCH 500 /* droplets in one transaction */

/* ---- publishing what was committed ---- */
static void publish(struct api *api, const struct event *event, const uint8_t *params, size_t size)
{
    Harpoon__Event__V1__Event head;
    char queue[EVENT_QUEUE_NAME], journal[UUID_TEXT];
    struct error err;

    message_fill(event, journal, unix_ms(), &head);
    event_queue_name(event->region, event->type, queue);
    if (publisher_publish(api->publisher, queue, &head, params, size, &err) < 0)
        metric_add(M_PUBLISHED, 1, "deferred", NULL); /* its check_at brings it back */
}

static void publish_create(struct api *api, const struct accept_request *r,
                           const struct accept_droplet *d)
{
    struct event event = {
        .id = d->event,
        .droplet = d->id,
        .account = r->account,
        .type = EVENT_CREATE,
        .state = EVENT_PENDING,
        .attempt = 1,
        .created_ms = r->created_ms,
        .deadline_ms = r->deadline_ms,
    };

    memcpy(event.region, r->region->slug, sizeof event.region);
    publish(api, &event, d->params, d->params_size);
}

/* Destroys carry little, and what they carry was made where the row was. */
static void publish_destroys(struct api *api, const struct droplet_delete *items, size_t count)
{
    struct event_record records[DELETE_BATCH];
    uint64_t ids[DELETE_BATCH];
    struct error err;
    size_t n = 0;

    for (size_t i = 0; i < count; i++)
        if (items[i].event.id.v != 0)
            ids[n++] = items[i].event.id.v;
    if (n == 0)
        return;
    if (events_read(api->changes_db, ids, n, true, records, &err) < 0) {
        log_warn("destroys are published later", F_ERROR(&err)); /* by their check_at */
        return;
    }
    for (size_t i = 0; i < n; i++)
        if (records[i].row.id.v != 0)
            publish(api, &records[i].row, records[i].params, records[i].params_size);
    events_records_free(records, n);
}

/* ---- creates ---- */
static void log_accepted(const struct change *ch)
{
    for (size_t k = 0; k < ch->accept.count; k++)
        log_info("event accepted", F_EVENT(ch->accept.droplets[k].event.v),
                 F_DROPLET(ch->accept.droplets[k].id.v), F_STR("type", "create"),
                 F_REGION(ch->accept.region->slug), F_STR("request_id", ch->call->request_id));
}

static void flush_creates(struct api *api, struct change **creates, size_t count)
{
    struct accept_request *requests[BATCH];
    size_t droplets = 0;
    const struct accept_env env = {
        .installation = api->installation,
        .droplet_ids = api->droplet_ids,
        .event_ids = api->event_ids,
        .addresses = api->addresses,
        .create_deadline_ms = api->config->create_deadline_s * 1000,
    };

    if (count == 0)
        return;
    for (size_t i = 0; i < count; i++)
        requests[i] = &creates[i]->accept;
    accept_creates(api->changes_db, &env, requests, count);
    for (size_t i = 0; i < count; i++) {
        struct accept_request *r = requests[i];
        reader_note(api, r->result, api->changes_db);
        for (size_t k = 0; k < r->count && r->result == 0; k++, droplets++)
            publish_create(api, r, &r->droplets[k]);
    }
    metric_observe(M_ACCEPT_BATCH, (double)count, NULL);
    for (size_t i = 0; i < count; i++) {
        struct change *ch = creates[i];
        if (ch->accept.result == 0) {
            metric_add(M_ACCEPTED, (double)ch->accept.count, "create", NULL);
            log_accepted(ch);
        }
        ch->done(ch, ch->accept.result, &ch->accept.err);
    }
}

/* ---- deletes ---- */
static void log_deleted(const struct change *ch, const struct droplet_delete *d)
{
    log_info("droplet deleted", F_DROPLET(d->droplet.v), F_EVENT(d->event.id.v),
             F_STR("request_id", ch->call->request_id));
}

/* One transaction for droplets of one or more changes; `owners` says whose each is. */
static void delete_chunk(struct api *api, struct droplet_delete *items, struct change **owners,
                         size_t count)
{
    struct error err = {0};

    int r = events_delete(api->changes_db, &api->events, items, count, &err);
    reader_note(api, r, api->changes_db);
    for (size_t i = 0; i < count; i++) {
        if (r < 0) {
            owners[i]->result = r;
            owners[i]->err = err;
        } else if (items[i].found) {
            owners[i]->found++;
            log_deleted(owners[i], &items[i]);
            metric_add(M_ACCEPTED, 1, "destroy", NULL);
        }
    }
    if (r >= 0)
        publish_destroys(api, items, count);
}

static void flush_deletes(struct api *api, struct change **deletes, size_t count)
{
    struct droplet_delete items[DELETE_BATCH];
    struct change *owners[DELETE_BATCH];
    size_t n = 0;

    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < deletes[i]->droplet_count; k++) {
            owners[n] = deletes[i];
            items[n++] = (struct droplet_delete){
                .droplet = deletes[i]->droplets[k],
                .account = call_account(deletes[i]->call),
                .actor = "customer",
            };
            if (n == DELETE_BATCH) {
                delete_chunk(api, items, owners, n);
                n = 0;
            }
        }
    }
    if (n > 0)
        delete_chunk(api, items, owners, n);
    for (size_t i = 0; i < count; i++)
        deletes[i]->done(deletes[i], deletes[i]->result, &deletes[i]->err);
}

/* ---- the thread ---- */
static void flush(void *ctx, void **items, size_t count)
{
    struct api *api = ctx;
    struct change *creates[BATCH], *deletes[BATCH];
    size_t created = 0, deleted = 0;

    for (size_t i = 0; i < count; i++) {
        struct change *ch = items[i];
        if (ch->kind == CHANGE_CREATE)
            creates[created++] = ch;
        else
            deletes[deleted++] = ch;
    }
    atomic_fetch_sub(&api->creates_waiting, (int)created);
    flush_deletes(api, deletes, deleted);
    flush_creates(api, creates, created);
}

static void thread_end(void *ctx)
{
    UNUSED(ctx);
    sql_thread_end();
}

int changes_start(struct api *api, struct error *err)
{
    size_t limit = (size_t)api->config->accept_queue;
    struct batcher_options options = {
        .name = "changes",
        .max_batch = BATCH,
        .max_queued = limit + limit / 4, /* a quarter more for deletes: they are always accepted */
        .spacing_ms = SPACING_MS,
        .flush = flush,
        .thread_end = thread_end,
        .ctx = api,
    };

    api->events = (struct events_env){&api->installation, api->event_ids};
    api->changes_db = sql_new(&api->mysql);
    if (api->changes_db == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    return batcher_start(&options, &api->changes, err);
}

static int submit(struct api *api, struct change *ch, struct error *err)
{
    bool create = ch->kind == CHANGE_CREATE;

    if (api->database_down || !api->installed)
        return error_set(err, ERR_UNAVAILABLE, "the database is gone");
    if (create && atomic_fetch_add(&api->creates_waiting, 1) >= api->config->accept_queue) {
        atomic_fetch_sub(&api->creates_waiting, 1);
        return error_set(err, ERR_UNAVAILABLE, "too many creates wait");
    }
    int r = batcher_submit(api->changes, ch, err);
    if (r < 0 && create)
        atomic_fetch_sub(&api->creates_waiting, 1);
    return r;
}

void changes_submit(struct api *api, struct change *ch)
{
    struct error err;
    int r = submit(api, ch, &err);

    if (r < 0)
        ch->done(ch, r, &err);
}

void changes_stop(struct api *api)
{
    api->changes = batcher_stop(api->changes);
    api->changes_db = sql_free(api->changes_db);
}
