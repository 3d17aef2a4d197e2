/* hypervisor-agent/fence.c: an operator has vouched that this hypervisor was powered off or wiped.
 * Nothing begins or goes on: every job is closed, every domain of ours removed, then it attaches
 * again. */
#include "hypervisor-agent/hypervisor.h"
#include "hypervisor-agent/owner.h"
#include "hypervisor-agent/run.h"

#include "lib/backoff.h"
#include "lib/log.h"

#include <stdlib.h>

enum {
    ROUND_MS = 1000,         /* between one look at the domains and the next */
    STILL_FENCED_MS = 45000, /* clean already: ask again whether it may come back */
};

/* What may have waited in the queue wants nothing any more. */
static void empty_queue(struct hypervisor *hv)
{
    for (struct job *job = hv->queue_first; job != NULL; job = job->next_queued)
        job->queued = false;
    hv->queue_first = NULL;
    hv->queue_last = NULL;
}

static size_t close_jobs(struct hypervisor *hv)
{
    struct map_cursor c = {0};
    size_t closed = 0;

    for (struct map_node *n; (n = map_next(&hv->book.jobs, &c)) != NULL;) {
        struct job *job = OWNER_OF(n, struct job, node);
        closed += job->state != JOB_CLOSED;
        if (job->state != JOB_CLOSED || job->ack != JOB_ACKNOWLEDGED)
            hypervisor_step(hv, job, JOB_IN_FENCED, "fenced", NULL);
    }
    return closed;
}

void fence_begin(struct hypervisor *hv)
{
    struct loop *loop = hv->agent->loop;

    hv->cleared = false;
    size_t closed = close_jobs(hv);
    empty_queue(hv);
    if (closed == 0 && hv->domain_count == 0 && run_count(hv) == 0) {
        hv->fencing = false;
        loop_timer_set(loop, &hv->fence_timer, loop_now_ms(loop) + jitter_ms(STILL_FENCED_MS, 50));
        return;
    }
    log_warn("this hypervisor is fenced: every job is closed, every droplet's domain removed",
             F_HYPERVISOR(hv->id.v), F_U64("jobs", closed), F_U64("domains", hv->domain_count));
    hv->fencing = true;
    hv->fence_rounds = 0;
    fence_step(hv);
}

static void again(struct hypervisor *hv, int64_t in_ms)
{
    struct loop *loop = hv->agent->loop;

    loop_timer_set(loop, &hv->fence_timer, loop_now_ms(loop) + in_ms);
}

static void remove_domains(struct hypervisor *hv)
{
    if (hv->domain_count == 0) {
        hv->fencing = false;
        log_info("nothing is left on this fenced hypervisor: attaching again",
                 F_HYPERVISOR(hv->id.v));
        session_renew(hv, 0);
        return;
    }
    hv->fence_rounds++;
    for (size_t i = 0; i < hv->domain_count; i++)
        run_remove(hv, hv->domains[i].droplet);
    again(hv, ROUND_MS);
}

static void on_listed(struct hypervisor *hv, struct probing *p)
{
    if (p->error.code != 0) {
        log_warn("the domains of a fenced hypervisor cannot be listed", F_HYPERVISOR(hv->id.v),
                 F_ERROR(&p->error));
        again(hv, ROUND_MS);
        return;
    }
    hypervisor_take_probe(hv, p);
    if (hv->fencing)
        remove_domains(hv);
}

void fence_step(struct hypervisor *hv)
{
    struct agent *a = hv->agent;

    if (!hv->fencing || a->stopping)
        return;
    if (hv->saves > 0 || hv->dirty != NULL) { /* the next on_saved comes back here */
        hv->save_now = true;
        hypervisor_join_turn(hv);
        return;
    }
    if (run_count(hv) > 0)
        return;
    if (hv->fence_rounds > 0 && hv->fence_timer.slot != 0)
        return; /* its turn comes */
    if (!probe_ask(a->probe, hv, &hv->probing, hv->id, PROBE_DOMAINS, on_listed))
        again(hv, ROUND_MS / 10);
}

void fence_on_timer(struct loop_timer *t)
{
    struct hypervisor *hv = OWNER_OF(t, struct hypervisor, fence_timer);

    if (hv->fencing)
        fence_step(hv);
    else if (hv->standing == STANDING_FENCED)
        session_renew(hv, 0);
}
