#include "eventrouter/sessions.h"

#include "lib/clock.h"
#include "lib/memory.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#define uthash_fatal(message) abort()
#include <uthash.h>
#include <utlist.h>

#define UNDER_WAY_MAX 4000 /* confirms and reports of one session */
#define STREAMS_MAX   16   /* of one hypervisor, the ones that are ending with them */
#define ATTACHES_MAX  4    /* of one session, not answered: each may be large */

struct session {
    atomic_int refs;
    struct rpc_stream *stream;
    uint64_t serial, hypervisor_id;
    atomic_uint under_way, attaches;
    _Atomic(const char *) end_reason;

    /* guarded by the table's lock */
    struct session_view view;
    int64_t seen_mono_ms;
    uint64_t change;
    bool held; /* it is its hypervisor's, in `by_hypervisor` */
    struct average average;
    struct session *prev, *next;
    UT_hash_handle hh;
};

/* A session that has ended, until every scheduler knows. */
struct left {
    struct observed observed;
    struct left *prev, *next;
};

/* How many streams a hypervisor has: one agent is not to take the places of all. */
struct crowd {
    uint64_t hypervisor_id;
    unsigned streams;
    UT_hash_handle hh;
};

struct sessions {
    size_t max;
    pthread_mutex_t lock; /* guards what follows */
    struct session *all;  /* every open stream */
    struct session *by_hypervisor;
    struct crowd *crowds;
    size_t count;
    uint64_t last_serial, last_change;
    struct left *left; /* oldest first */
    size_t left_count;
};

const char *session_state_name(enum session_state state)
{
    static const char *const names[SESSION_STATES] = {
        [SESSION_OPEN] = "open", [SESSION_ASKING] = "asking", [SESSION_LATER] = "later",
        [SESSION_OK] = "ok",     [SESSION_FENCED] = "fenced", [SESSION_ENDED] = "ended",
    };
    return names[state];
}

struct sessions *sessions_new(size_t max)
{
    struct sessions *t = must_calloc(1, sizeof(*t));

    t->max = max;
    pthread_mutex_init(&t->lock, NULL);
    return t;
}

static void left_remove_locked(struct sessions *t, struct left *l)
{
    DL_DELETE(t->left, l);
    t->left_count--;
    free(l);
}

struct sessions *sessions_free(struct sessions *t)
{
    if (!t)
        return NULL;
    assert(t->count == 0);
    while (t->left)
        left_remove_locked(t, t->left);
    pthread_mutex_destroy(&t->lock);
    free(t);
    return NULL;
}

/* ---- one session ---- */

struct session *session_ref(struct session *s)
{
    atomic_fetch_add(&s->refs, 1);
    return s;
}

void session_unref(struct session *s)
{
    if (atomic_fetch_sub(&s->refs, 1) != 1)
        return;
    rpc_stream_unref(s->stream);
    free(s);
}

uint64_t session_serial(const struct session *s)
{
    return s->serial;
}

uint64_t session_hypervisor(const struct session *s)
{
    return s->hypervisor_id;
}

int session_send(struct session *s, const Harpoon__Agent__V1__ToAgent *message, struct error *err)
{
    return rpc_stream_send(s->stream, &message->base, err);
}

size_t session_queued(struct session *s)
{
    return rpc_stream_queued(s->stream);
}

void session_finish(struct session *s, const char *reason, const struct error *err)
{
    const char *none = NULL;

    atomic_compare_exchange_strong(&s->end_reason, &none, reason);
    rpc_stream_finish(s->stream, err);
}

bool session_reserve(struct session *s, unsigned n)
{
    if (atomic_fetch_add(&s->under_way, n) + n <= UNDER_WAY_MAX)
        return true;
    atomic_fetch_sub(&s->under_way, n);
    return false;
}

void session_release(struct session *s, unsigned n)
{
    atomic_fetch_sub(&s->under_way, n);
}

bool session_reserve_attach(struct session *s)
{
    if (atomic_fetch_add(&s->attaches, 1) < ATTACHES_MAX)
        return true;
    atomic_fetch_sub(&s->attaches, 1);
    return false;
}

void session_release_attach(struct session *s)
{
    atomic_fetch_sub(&s->attaches, 1);
}

/* ---- coming ---- */

static int crowd_enter_locked(struct sessions *t, uint64_t hypervisor_id, struct error *err)
{
    struct crowd *c = NULL;

    HASH_FIND(hh, t->crowds, &hypervisor_id, sizeof(hypervisor_id), c);
    if (c && c->streams >= STREAMS_MAX)
        return error_set(err, ERR_BUSY, "this hypervisor has %u streams already", c->streams);
    if (!c) {
        c = must_calloc(1, sizeof(*c));
        c->hypervisor_id = hypervisor_id;
        HASH_ADD(hh, t->crowds, hypervisor_id, sizeof(hypervisor_id), c);
    }
    c->streams++;
    return 0;
}

static void crowd_leave_locked(struct sessions *t, uint64_t hypervisor_id)
{
    struct crowd *c = NULL;

    HASH_FIND(hh, t->crowds, &hypervisor_id, sizeof(hypervisor_id), c);
    if (--c->streams > 0)
        return;
    HASH_DEL(t->crowds, c);
    free(c);
}

int sessions_open(struct sessions *t, struct rpc_stream *stream, int64_t now_mono_ms,
                  struct session **ret, struct error *err)
{
    const struct rpc_peer *peer = rpc_stream_peer(stream);
    LOCK_SCOPE(&t->lock);

    if (t->count >= t->max)
        return error_set(err, ERR_BUSY, "this router holds %zu streams already", t->count);
    int r = crowd_enter_locked(t, peer->hypervisor_id, err);
    if (r < 0)
        return r;
    struct session *s = must_calloc(1, sizeof(*s));
    s->refs = 1;
    s->stream = rpc_stream_ref(stream);
    s->serial = ++t->last_serial;
    s->hypervisor_id = peer->hypervisor_id;
    s->view.hypervisor_id = peer->hypervisor_id;
    snprintf(s->view.region, sizeof(s->view.region), "%s", peer->region);
    s->seen_mono_ms = now_mono_ms;
    s->view.seen_unix_ms = unix_ms();
    DL_APPEND(t->all, s);
    t->count++;
    *ret = s;
    return 0;
}

static struct session *held_locked(struct sessions *t, uint64_t hypervisor_id)
{
    struct session *s = NULL;

    HASH_FIND(hh, t->by_hypervisor, &hypervisor_id, sizeof(hypervisor_id), s);
    return s;
}

static void leave_locked(struct sessions *t, struct session *s)
{
    struct left *l = must_calloc(1, sizeof(*l));

    HASH_DEL(t->by_hypervisor, s);
    s->held = false;
    l->observed = (struct observed){.hypervisor_id = s->hypervisor_id,
                                    .number = s->view.number,
                                    .change = ++t->last_change};
    memcpy(l->observed.journal_id, s->view.journal_id, UUID_TEXT);
    DL_APPEND(t->left, l);
    /* A scheduler that has been away for so long learns it from who is not named. */
    if (++t->left_count > t->max)
        left_remove_locked(t, t->left);
}

static int check_attach_locked(struct sessions *t, const struct session *s,
                               const Harpoon__Agent__V1__Attach *attach, struct error *err)
{
    const struct session *other = held_locked(t, s->hypervisor_id);

    if (s->view.state == SESSION_ENDED)
        return error_set(err, ERR_UNAVAILABLE, "the stream has ended");
    if (s->view.state != SESSION_OPEN &&
        (strcmp(s->view.journal_id, attach->journal_id) != 0 || s->view.number != attach->session))
        return error_set(err, ERR_INVALID, "a stream keeps its journal and its number");
    if (s->view.state != SESSION_OPEN && !s->held)
        return error_set(err, ERR_CONFLICT, "a newer stream has taken the place of this one");
    if (other && other != s && strcmp(other->view.journal_id, attach->journal_id) == 0 &&
        other->view.number > attach->session)
        return error_set(err, ERR_CONFLICT, "a newer stream of this journal is here");
    return 0;
}

int sessions_attach(struct sessions *t, struct session *s, const Harpoon__Agent__V1__Attach *attach,
                    struct session **ret_replaced, uint32_t *ret_generation, struct error *err)
{
    LOCK_SCOPE(&t->lock);
    int r = check_attach_locked(t, s, attach, err);

    if (r < 0)
        return r;
    struct session *other = held_locked(t, s->hypervisor_id);
    *ret_replaced = NULL;
    if (other && other != s) {
        leave_locked(t, other);
        *ret_replaced = session_ref(other);
    }
    snprintf(s->view.journal_id, sizeof(s->view.journal_id), "%s", attach->journal_id);
    s->view.number = attach->session;
    s->view.jobs_open = attach->jobs_open;
    s->view.state = SESSION_ASKING;
    s->view.compared = false;
    s->view.attached_unix_ms = unix_ms();
    average_set_capacity(&s->average, attach->capacity);
    s->change = ++t->last_change;
    if (!s->held) {
        HASH_ADD(hh, t->by_hypervisor, hypervisor_id, sizeof(s->hypervisor_id), s);
        s->held = true;
    }
    *ret_generation = ++s->view.generation;
    return 0;
}

static bool awaits_locked(const struct session *s, uint32_t generation)
{
    return s->held && s->view.generation == generation &&
           (s->view.state == SESSION_ASKING || s->view.state == SESSION_LATER);
}

bool sessions_awaits(struct sessions *t, struct session *s, uint32_t generation)
{
    LOCK_SCOPE(&t->lock);
    return awaits_locked(s, generation);
}

bool sessions_decide(struct sessions *t, struct session *s, uint32_t generation,
                     enum session_state state, bool compared)
{
    LOCK_SCOPE(&t->lock);
    if (!awaits_locked(s, generation) || s->view.state == state)
        return false;
    if (compared != s->view.compared)
        s->change = ++t->last_change;
    s->view.state = state;
    s->view.compared = compared;
    return true;
}

/* ---- being there ---- */

enum session_state sessions_see(struct sessions *t, struct session *s, int64_t now_mono_ms)
{
    LOCK_SCOPE(&t->lock);
    s->seen_mono_ms = now_mono_ms;
    s->view.seen_unix_ms = unix_ms();
    return s->view.state;
}

void sessions_sample(struct sessions *t, struct session *s,
                     const Harpoon__Agent__V1__Sample *sample)
{
    LOCK_SCOPE(&t->lock);
    average_add(&s->average, sample);
}

void sessions_close(struct sessions *t, struct session *s, struct session_view *ret)
{
    LOCK_SCOPE(&t->lock);
    *ret = s->view;
    ret->end_reason = atomic_load(&s->end_reason);
    if (s->held)
        leave_locked(t, s);
    s->view.state = SESSION_ENDED;
    DL_DELETE(t->all, s);
    t->count--;
    crowd_leave_locked(t, s->hypervisor_id);
}

struct session *sessions_find(struct sessions *t, uint64_t hypervisor_id, struct session_view *ret)
{
    LOCK_SCOPE(&t->lock);
    struct session *s = held_locked(t, hypervisor_id);

    if (!s)
        return NULL;
    *ret = s->view;
    return session_ref(s);
}

void sessions_view(struct sessions *t, struct session *s, struct session_view *ret)
{
    LOCK_SCOPE(&t->lock);
    *ret = s->view;
}

size_t sessions_collect(struct sessions *t, int64_t silent_since_mono_ms,
                        int64_t patience_since_mono_ms, struct session ***ret)
{
    struct session **list = NULL;
    struct session *s;
    size_t count = 0, room = 0;
    LOCK_SCOPE(&t->lock);

    DL_FOREACH(t->all, s)
    {
        bool answered = s->view.state == SESSION_OK || s->view.state == SESSION_FENCED;
        if (s->seen_mono_ms > (answered ? silent_since_mono_ms : patience_since_mono_ms))
            continue;
        if (count == room) {
            room = room ? room * 2 : 64;
            list = must_resize(list, room, sizeof(list[0]));
        }
        list[count++] = session_ref(s);
    }
    *ret = list;
    return count;
}

void sessions_unref_all(struct session **list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        session_unref(list[i]);
    free(list);
}

void sessions_count(struct sessions *t, size_t ret[SESSION_STATES])
{
    struct session *s;
    LOCK_SCOPE(&t->lock);

    memset(ret, 0, SESSION_STATES * sizeof(ret[0]));
    DL_FOREACH(t->all, s)
    ret[s->view.state]++;
}

size_t sessions_open_count(struct sessions *t)
{
    LOCK_SCOPE(&t->lock);
    return t->count;
}

/* ---- what schedulers are told ---- */

struct rows {
    struct observed *list;
    size_t count, room;
};

static void rows_add(struct rows *r, const struct observed *o)
{
    if (r->count == r->room) {
        r->room = r->room ? r->room * 2 : 256;
        r->list = must_resize(r->list, r->room, sizeof(r->list[0]));
    }
    r->list[r->count++] = *o;
}

static void observe_one_locked(struct session *s, uint64_t after_change, bool due,
                               struct rows *rows)
{
    struct observed o = {
        .hypervisor_id = s->hypervisor_id,
        .number = s->view.number,
        .change = s->change,
        .attached = true,
        .compared = s->view.compared,
        .due = due,
    };

    if (s->average.count == 0 && !due && s->change <= after_change)
        return;
    memcpy(o.journal_id, s->view.journal_id, UUID_TEXT);
    o.average = average_take(&s->average);
    rows_add(rows, &o);
}

size_t sessions_observe(struct sessions *t, uint64_t after_change, unsigned slice, unsigned slices,
                        struct observed **ret, uint64_t *ret_change)
{
    struct rows rows = {NULL, 0, 0};
    struct left *l;
    LOCK_SCOPE(&t->lock);

    DL_FOREACH(t->left, l)
    if (l->observed.change > after_change)
        rows_add(&rows, &l->observed);
    for (struct session *s = t->by_hypervisor; s; s = s->hh.next)
        observe_one_locked(s, after_change, s->serial % slices == slice, &rows);
    *ret = rows.list;
    *ret_change = t->last_change;
    return rows.count;
}

void sessions_forget_left(struct sessions *t, uint64_t up_to_change)
{
    LOCK_SCOPE(&t->lock);
    while (t->left && t->left->observed.change <= up_to_change)
        left_remove_locked(t, t->left);
}
