#include "tests/simulation/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MINUTES(n)   ((int64_t)(n)*60 * 1000)
#define FAULTS_UNTIL MINUTES(10)
#define ENDS_AT      MINUTES(240)

const char *mistake_name(enum mistake m)
{
    static const char *const names[MISTAKES] = {"none",
                                                "start-before-stored",
                                                "next-without-closed",
                                                "release-before-absent",
                                                "no-cleanup",
                                                "no-sweeper",
                                                "unknown-destroys",
                                                "no-reconciler",
                                                "destroy-leaves-others"};

    return names[m];
}

uint64_t world_random(struct world *w, uint64_t below)
{
    w->random ^= w->random >> 12;
    w->random ^= w->random << 25;
    w->random ^= w->random >> 27;
    return (w->random * 2685821657736338717ULL >> 16) % below;
}

bool world_chance(struct world *w, unsigned permille)
{
    return !w->calm && world_random(w, 1000) < permille;
}

void world_fail(struct world *w, const char *format, ...)
{
    va_list args;

    if (w->failure[0] != '\0')
        return;
    va_start(args, format);
    vsnprintf(w->failure, sizeof w->failure, format, args);
    va_end(args);
}

void world_tell(struct world *w, const char *format, ...)
{
    va_list args;

    if (!w->verbose)
        return;
    printf("%9.3f  ", (double)w->now / 1000);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

/* ---- notes ---- */

static bool comes_before(const struct note *a, const struct note *b)
{
    return a->at < b->at || (a->at == b->at && a->order < b->order);
}

static void swap(struct note *a, struct note *b)
{
    struct note t = *a;

    *a = *b;
    *b = t;
}

struct note *world_send(struct world *w, enum note_kind kind, int64_t after_ms)
{
    size_t i = w->note_count;

    if (i == NOTES) {
        world_fail(w, "more than %d notes in flight", NOTES);
        i = --w->note_count;
    }
    w->note_count++;
    memset(&w->notes[i], 0, sizeof w->notes[i]);
    w->notes[i].kind = kind;
    w->notes[i].at = w->now + after_ms;
    w->notes[i].order = ++w->orders;
    while (i > 0 && comes_before(&w->notes[i], &w->notes[(i - 1) / 2])) {
        swap(&w->notes[i], &w->notes[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    return &w->notes[i];
}

static struct note take_first(struct world *w)
{
    struct note first = w->notes[0];
    size_t i = 0;

    w->notes[0] = w->notes[--w->note_count];
    for (;;) {
        size_t least = i, left = 2 * i + 1;
        for (size_t child = left; child < left + 2 && child < w->note_count; child++)
            if (comes_before(&w->notes[child], &w->notes[least]))
                least = child;
        if (least == i)
            return first;
        swap(&w->notes[i], &w->notes[least]);
        i = least;
    }
}

/* ---- customers and faults ---- */

static void customer_tick(struct world *w)
{
    uint64_t droplet = 1 + world_random(w, DROPLETS);

    if (w->calm)
        return;
    world_send(w, NOTE_CUSTOMER_TICK, (int64_t)(500 + world_random(w, 30000)));
    if (!w->database_up)
        return;
    if (!w->droplets[droplet].exists)
        database_create(w, droplet);
    else if (world_random(w, 4) == 0)
        database_delete(w, droplet);
}

static void strike(struct world *w)
{
    unsigned host = 1 + (unsigned)world_random(w, HOSTS);
    unsigned worker = (unsigned)world_random(w, WORKERS);
    struct host *h = &w->hosts[host];

    w->faults++;
    switch (world_random(w, 10)) {
    case 0:
        worker_crash(w, worker);
        break;
    case 1:
        w->workers[worker].up = true;
        break;
    case 2:
        host_crash(w, host);
        break;
    case 3:
        h->up = true;
        break;
    case 4:
        world_tell(w, "host %u is cut off", host);
        h->connected = false;
        break;
    case 5:
        h->connected = true;
        break;
    case 6:
        w->database_up = !w->database_up;
        world_tell(w, "database %s", w->database_up ? "up" : "down");
        break;
    case 7:
        if (world_random(w, 3) == 0)
            broker_wipe(w);
        break;
    case 8:
        if (world_random(w, 6) == 0)
            host_lose_journal(w, host);
        break;
    default:
        if (h->fenced)
            host_return_from_fence(w, host);
        else if (world_random(w, 6) == 0)
            operator_fence(w, host);
        break;
    }
}

static void all_is_well(struct world *w)
{
    w->calm = true;
    w->database_up = w->broker_up = true;
    for (unsigned i = 0; i < WORKERS; i++)
        w->workers[i].up = true;
    for (unsigned i = 1; i <= HOSTS; i++) {
        if (w->hosts[i].fenced)
            host_return_from_fence(w, i);
        w->hosts[i].up = w->hosts[i].connected = true;
    }
    world_tell(w, "faults stop");
}

static void fault_tick(struct world *w)
{
    if (w->now >= FAULTS_UNTIL) {
        all_is_well(w);
        return;
    }
    world_send(w, NOTE_FAULT_TICK, (int64_t)(100 + world_random(w, 20000)));
    strike(w);
}

/* ---- running ---- */

static void release_claim(struct world *w, const struct note *n)
{
    struct changes changes = {0};

    world_tell(w, "claim (%llu, %u) is released as not wanted", (unsigned long long)n->row.id.v,
               n->row.attempt);
    (void)fleet_release_claim(w->fleet, n->row.id, n->row.attempt, &changes);
    changes_fini(&changes);
}

static void deliver(struct world *w, const struct note *n)
{
    switch (n->kind) {
    case NOTE_WORKER_TICK:
        worker_tick(w, n->who);
        break;
    case NOTE_SWEEP_TICK:
        sweeper_tick(w);
        break;
    case NOTE_RECONCILE_TICK:
        reconciler_tick(w);
        break;
    case NOTE_RELEASE_CLAIM:
        release_claim(w, n);
        break;
    case NOTE_HOST_TICK:
        host_tick(w, n->who);
        break;
    case NOTE_FAULT_TICK:
        fault_tick(w);
        break;
    case NOTE_CUSTOMER_TICK:
        customer_tick(w);
        break;
    case NOTE_DELIVERED:
        worker_on_delivered(w, n);
        break;
    case NOTE_FLOW_EXPIRES:
        worker_on_flow_expired(w, n);
        break;
    case NOTE_CONFIRM:
        worker_on_confirm(w, n);
        break;
    case NOTE_REPORT:
        worker_on_report(w, n);
        break;
    case NOTE_DELIVER:
    case NOTE_START:
    case NOTE_DROP:
    case NOTE_CONFIRMED:
    case NOTE_REPORTED:
    case NOTE_DRIVER_ACTS:
    case NOTE_DRIVER_ANSWERS:
        host_on_note(w, n);
        break;
    }
}

void world_init(struct world *w, uint64_t seed, enum mistake mistake, bool verbose)
{
    memset(w, 0, sizeof *w);
    w->random = seed * 0x9e3779b97f4a7c15ULL + 1;
    w->mistake = mistake;
    w->verbose = verbose;
    w->database_up = w->broker_up = true;
    w->lives = 1;
    w->fleet = fleet_new(0);
    for (unsigned i = 0; i < WORKERS; i++) {
        w->workers[i] = (struct worker){.up = true, .life = ++w->lives};
        world_send(w, NOTE_WORKER_TICK, 10 * i)->who = i;
    }
    for (unsigned i = 1; i <= HOSTS; i++)
        host_init(w, i);
    world_send(w, NOTE_SWEEP_TICK, 100);
    world_send(w, NOTE_RECONCILE_TICK, 5000);
    world_send(w, NOTE_FAULT_TICK, 3000);
    world_send(w, NOTE_CUSTOMER_TICK, 1);
}

void world_fini(struct world *w)
{
    w->fleet = fleet_free(w->fleet);
}

static bool is_settled(const struct world *w)
{
    for (size_t i = 1; i <= w->row_count; i++)
        if (!event_is_final(w->rows[i].state))
            return false;
    return true;
}

void world_run(struct world *w)
{
    int64_t settled_at = 0;

    while (w->note_count > 0 && w->failure[0] == '\0' && w->now < ENDS_AT) {
        struct note n = take_first(w);
        w->now = n.at;
        w->steps++;
        deliver(w, &n);
        check_step(w);
        if (!w->calm || !is_settled(w))
            settled_at = w->now;
        if (w->now - settled_at > MINUTES(5)) /* time for the reconciler and the last reports */
            break;
    }
    if (w->failure[0] == '\0')
        check_end(w);
}
