/* harpoon/api/internal.h: what the files of this folder share: the role's table of contents, and
 * one request on its way through it. */
#pragma once

#include "harpoon/api/api.h"
#include "harpoon/api/catalog_cache.h"
#include "harpoon/api/flights.h"
#include "harpoon/api/publisher.h"
#include "harpoon/api/rate.h"
#include "harpoon/api/routes.h"
#include "harpoon/api/sweeper.h"
#include "harpoon/api/token_cache.h"
#include "harpoon/store/accept.h"
#include "harpoon/store/droplets.h"
#include "harpoon/store/events.h"
#include "lib/batcher.h"
#include "lib/http/http.h"
#include "lib/sql/sql.h"
#include "lib/uuid.h"

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define API_BODY_MAX (256u << 10)

/* In the order of api_metrics. */
enum api_metric {
    M_HTTP_REQUESTS,
    M_HTTP_DURATION,
    M_HTTP_CONNECTIONS,
    M_HTTP_WAITING,
    M_ACCEPTED,
    M_ACCEPT_BATCH,
    M_QUEUE_DEPTH,
    M_QUEUE_LIMIT,
    M_QUEUE_OLDEST,
    M_QUEUE_REFUSED,
    M_PUBLISHED,
    M_PUBLISHER_CONNECTED,
    M_PUBLISHER_QUEUED,
    M_PUBLISHER_IN_FLIGHT,
    M_OUTBOX_LAG,
    M_SWEEPS,
    M_SWEPT,
    M_DATABASE_UP,
    M_CATALOG_AGE,
    M_OPERATOR_CALLS,
    M_COUNT,
};

/* Runs once on the reader's thread. */
struct reader_job {
    void (*run)(struct reader_job *job, struct sql *db);
    int64_t submitted_mono_ms;
};

/* Looks after what is kept in memory: its job comes once a second. */
struct keeper {
    struct reader_job job;
    struct api *api;
    int64_t tokens_mono_ms; /* when tokens were refreshed last */
    int last_result;
    int64_t pruned_mono_ms; /* when old answers were removed last; 0: more are to be */
    _Atomic bool busy;      /* its job waits or runs */
};

struct api {
    const struct harpoon_config *config;
    char *mysql_password, *amqp_password;
    struct sql_options mysql;
    struct rate_limits limits;

    struct catalog_cache *catalog;
    struct token_cache *tokens;
    struct flights *flights;
    struct publisher *publisher;
    struct ids *event_ids, *droplet_ids, *key_ids;
    struct addresses *addresses;

    struct sql *reader_db;    /* the reader's thread only */
    struct batcher *reader;   /* struct reader_job */
    struct sql *changes_db;   /* the flusher's thread only */
    struct batcher *changes;  /* struct change */
    struct sweeper *sweeper;  /* NULL until `swept` */
    _Atomic bool swept;       /* the sweeper runs */
    struct uuid installation; /* written once, before `installed` */
    struct events_env events;
    uint64_t writer_epoch;      /* the reader's thread only */
    _Atomic bool installed;     /* the catalogue was loaded once */
    _Atomic bool database_down; /* the last one who asked it got no answer */
    _Atomic int lookups;        /* tokens being looked up */
    _Atomic int creates_waiting;

    struct keeper keeper;
    pthread_t keeper_thread; /* wakes the reader every second */
    pthread_mutex_t keeper_lock;
    pthread_cond_t keeper_wake;
    bool keeper_stopping; /* guarded by keeper_lock */
    bool keeper_runs;

    struct operators *operators; /* NULL: no RPC is served */

    struct http_server *http;

    struct { /* the scraping thread only: what counters were at the last scrape */
        uint64_t reads_refused, changes_refused;
        struct sweeper_stats sweeper;
    } scraped;
};

/* ---- one request ---- */
struct call {
    struct reader_job job; /* its place in the reader's queue */
    void (*step)(struct call *c);
    struct api *api;
    struct http_request *http;
    struct route_match match;
    char *path_buffer;
    char request_id[UUID_TEXT];
    bool known;    /* `token` and `rate` are set */
    bool counted;  /* in api->lookups */
    bool flying;   /* `flight` is registered: the request has an Idempotency-Key */
    bool reloaded; /* the catalogue was read again for this one */
    struct flight flight;
    struct error once_error; /* of once_fail */
    struct token token;
    struct rate_verdict rate;
    struct view *view;             /* NULL: no catalogue yet */
    json_t *body;                  /* of a ROUTE_BODY */
    struct sql *db;                /* while on the reader's thread, else NULL */
    void (*again)(struct call *c); /* after the catalogue was read again */
    void *state;                   /* the handler's own, freed with the call */
    void (*state_free)(void *state);
};

/* ---- call.c: answering; each ends the call ---- */
struct call *call_new(struct api *api, struct http_request *http);
void call_reply(struct call *c, int status, json_t *body); /* takes `body`; NULL: none */
/* `text` (malloc'ed, taken) is JSON already; NULL is no body with 204, else no memory. */
void call_reply_text(struct call *c, int status, char *text);
/* `body` (taken) as answers are written; the caller frees. NULL: no memory. */
char *call_format(json_t *body);
void call_fail(struct call *c, const struct error *err); /* by error.c's table */
void call_refuse(struct call *c, int status, const char *id, const char *format, ...) PRINTF(4, 5);
/* A collection: `items` (taken) under `key`, with links and meta. */
struct page;
void call_reply_page(struct call *c, const struct page *page, const char *key, json_t *items,
                     uint64_t total);
struct page call_page(const struct call *c);
/* The request's scheme and host, and `path`; the caller frees. */
char *call_url(const struct call *c, const char *path);
account_id call_account(const struct call *c);
/* The number in {…} part `i`. False: it is none, and the call was answered 404. */
bool call_id(struct call *c, size_t i, uint64_t *ret);
void call_not_found(struct call *c);
/* False: there is no catalogue yet, and the call was answered 503. */
bool call_has_catalog(struct call *c);
/* Something is not in the catalogue: true when that is read again first, and `handler` called anew
 * (on the reader's thread). False: it was read a moment ago. */
bool call_again(struct call *c, void (*handler)(struct call *c));

/* ---- api.c ---- */
int api_start_sweeper(struct api *api, struct error *err) MUST_CHECK;

/* ---- reader.c: what must ask the database ---- */
int reader_start(struct api *api, struct error *err) MUST_CHECK;
/* Runs `step` on the reader's thread with c->db set; answers 503 when it cannot. */
void reader_run(struct call *c, void (*step)(struct call *c));
/* Looks at what a database call gave: is it gone? */
void reader_note(struct api *api, int result, const struct sql *db);
/* Loads the catalogue anew; on the reader's thread. */
int reader_reload(struct api *api, struct sql *db, struct error *err) MUST_CHECK;
void reader_stop(struct api *api);

/* ---- changes.c: what is committed in batches ---- */
enum change_kind { CHANGE_CREATE, CHANGE_DELETE };
struct change {
    enum change_kind kind;
    struct call *call;
    struct accept_request accept; /* CREATE */
    const droplet_id *droplets;   /* DELETE; borrowed */
    size_t droplet_count;
    size_t found; /* DELETE: out: how many there were */
    int result;   /* DELETE: out, with `err` */
    struct error err;
    /* Once, on the flusher's thread; answers the call or submits it again. */
    void (*done)(struct change *change, int result, const struct error *err);
};
int changes_start(struct api *api, struct error *err) MUST_CHECK;
/* Takes it over; calls done with ERR_UNAVAILABLE when it cannot be queued. */
void changes_submit(struct api *api, struct change *change);
void changes_stop(struct api *api);

/* ---- operators.c: what operators ask ---- */
int operators_start(struct api *api, struct error *err) MUST_CHECK;
void operators_stop(struct api *api);

/* ---- front.c: from the socket to the handler ---- */
int front_start(struct api *api, struct error *err) MUST_CHECK;
/* Routes and runs a call whose token is known. */
void front_dispatch(struct call *c);
/* Runs a call that was routed. */
void front_run(struct call *c);

/* ---- once.c: Idempotency-Key ---- */
/* Answers a call as it was answered before, or runs it. */
void once_begin(struct call *c);
/* The key under which the handler stores its answer, in the transaction that does what is asked;
 * NULL: none. The call's. */
const struct idempotency_key *once_key(const struct call *c);
/* Like call_fail, unless the same request was done meanwhile: then with its answer. Any thread. */
void once_fail(struct call *c, const struct error *err);
/* The call is about to be answered. */
void once_end(struct call *c);

/* ---- the handlers of routes.c ---- */
void account_show(struct call *c);
void regions_list(struct call *c);
void sizes_list(struct call *c);
void images_list(struct call *c);
void images_show(struct call *c);
void keys_list_all(struct call *c);
void keys_create(struct call *c);
void keys_show(struct call *c);
void keys_update(struct call *c);
void keys_delete(struct call *c);
void droplets_create(struct call *c);
void droplets_list_all(struct call *c);
void droplets_show(struct call *c);
void droplets_delete(struct call *c);
void droplets_delete_tagged(struct call *c);
void droplet_actions_list(struct call *c);
void droplet_actions_show(struct call *c);
void actions_list_all(struct call *c);
void actions_show(struct call *c);
void empty_list(struct call *c);
void tags_list_all(struct call *c);
void tags_create(struct call *c);
void tags_show(struct call *c);
void tags_delete(struct call *c);
void tags_put_on(struct call *c);
void tags_take_off(struct call *c);
void droplet_neighbors(struct call *c);
void neighbors_report(struct call *c);
void droplet_empty_list(struct call *c);
void droplet_associated(struct call *c);
void droplet_policy(struct call *c);
void policies_list(struct call *c);
void policies_supported(struct call *c);
void openapi_show(struct call *c);
