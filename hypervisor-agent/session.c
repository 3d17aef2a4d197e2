#include "hypervisor-agent/session.h"

#include "hypervisor-agent/hypervisor.h"
#include "hypervisor-agent/link.h"
#include "hypervisor-agent/metrics.h"
#include "hypervisor-agent/owner.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/rendezvous.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAX_HOPS = 2,
    AT_ONCE_MS = 50,       /* a single broken stream connects again within */
    LOSS_WINDOW_MS = 1000, /* streams lost within it are lost together */
    PAUSE_MS = 500,        /* the first, when no router could be reached */
    PAUSE_MAX_MS = 60000,
    MICROSECONDS_EACH = 2200, /* of a router's time for one that connects, twice over */
    SPREAD_MAX_MS = 60000,
    SAMPLE_MS = 5000,      /* when the router does not say */
    TELL_MS = 250,         /* between samples out of turn */
    LIST_EVERY_MS = 60000, /* events are hints, the list is the truth */
    LATER_MS = 600000,     /* no word that Harpoon can be asked again: attach anew */
    LOGGED_ORPHANS = 20,
};

static struct loop *loop_of(const struct hypervisor *hv)
{
    return hv->agent->loop;
}

static int64_t random_below(int64_t ms)
{
    return ms > 0 ? (int64_t)(random_u64() % (uint64_t)ms) : 0;
}

bool session_is_attached(const struct hypervisor *hv)
{
    return hv->session.link != NULL && !hv->session.attaching;
}

int session_send(struct hypervisor *hv, const Harpoon__Agent__V1__FromAgent *message,
                 struct error *err)
{
    if (hv->session.link == NULL)
        return error_set(err, ERR_UNAVAILABLE, "no stream");
    return link_send(hv->session.link, message, err);
}

/* ---- where to, and when ---- */

static int64_t spread_ms(const struct agent *a)
{
    int64_t fleet = a->setup->config->fleet_size;

    if (fleet < (int64_t)a->hypervisor_count)
        fleet = (int64_t)a->hypervisor_count;
    int64_t spread = fleet * MICROSECONDS_EACH / 1000;
    return spread < SPREAD_MAX_MS ? spread : SPREAD_MAX_MS;
}

static int order_routers(struct hypervisor *hv, struct error *err)
{
    const struct agent_setup *setup = hv->agent->setup;
    uint16_t *order = calloc(setup->router_count, sizeof *order);
    size_t second = 0, n = 0;

    if (order == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    size_t owner = rendezvous_find(hv->id.v, (const char *const *)setup->routers,
                                   setup->router_count, &second);
    order[n++] = (uint16_t)owner;
    if (second != owner)
        order[n++] = (uint16_t)second;
    for (size_t i = 0; i < setup->router_count; i++)
        if (i != owner && i != second)
            order[n++] = (uint16_t)i;
    hv->session.order = order;
    return 0;
}

static const char *next_address(const struct hypervisor *hv)
{
    const struct session *s = &hv->session;
    const struct agent_setup *setup = hv->agent->setup;

    if (s->redirect != NULL)
        return s->redirect;
    return setup->routers[s->order[s->tried % setup->router_count]];
}

static void forget_redirect(struct session *s)
{
    free(s->redirect);
    s->redirect = NULL;
}

static void connect_in(struct hypervisor *hv, int64_t in_ms)
{
    if (!hv->agent->stopping)
        loop_timer_set(loop_of(hv), &hv->session.timer, loop_now_ms(loop_of(hv)) + in_ms + 1);
}

/* This router was of no use: the next at once, and after all of them a pause. */
static void connect_elsewhere(struct hypervisor *hv)
{
    struct session *s = &hv->session;

    forget_redirect(s);
    s->tried++;
    bool around = s->tried % hv->agent->setup->router_count == 0;
    connect_in(hv, around || s->hops > 0 ? backoff_next_ms(&s->backoff) : random_below(AT_ONCE_MS));
    s->hops = 0;
}

/* A router that falls takes many streams with it; a single one is nobody's storm. */
static int64_t pause_after_loss(struct agent *a)
{
    int64_t now = loop_now_ms(a->loop);

    if (now - a->losses_since_ms > LOSS_WINDOW_MS) {
        a->losses_since_ms = now;
        a->losses = 0;
    }
    a->losses++;
    bool single = a->hypervisor_count > 1 && a->losses <= 1 + a->hypervisor_count / 100;
    return random_below(single ? AT_ONCE_MS : AT_ONCE_MS + spread_ms(a));
}

/* ---- attaching ---- */

static void drop_link(struct hypervisor *hv)
{
    struct session *s = &hv->session;

    if (s->link == NULL)
        return;
    link_cut(s->link);
    s->link = NULL;
    s->attaching = false;
    loop_timer_clear(loop_of(hv), &s->sampler);
    loop_timer_clear(loop_of(hv), &s->teller);
    loop_timer_clear(loop_of(hv), &hv->drain_timer);
    hypervisor_detached(hv);
}

static uint64_t next_number(struct hypervisor *hv)
{
    if (hv->session_number == hv->session_reserved) {
        hv->session_reserved += SESSION_NUMBERS_RESERVED;
        save_row(hv);
    }
    return ++hv->session_number;
}

static void send_attach(struct hypervisor *hv, struct error *err)
{
    Harpoon__Agent__V1__Attach attach = HARPOON__AGENT__V1__ATTACH__INIT;
    Harpoon__Agent__V1__Capacity capacity = HARPOON__AGENT__V1__CAPACITY__INIT;
    Harpoon__Agent__V1__FromAgent message = HARPOON__AGENT__V1__FROM_AGENT__INIT;
    size_t count = hv->domain_count;
    Harpoon__Agent__V1__Domain *domains = calloc(count + 1, sizeof *domains);
    Harpoon__Agent__V1__Domain **pointers = calloc(count + 1, sizeof(Harpoon__Agent__V1__Domain *));

    if (domains == NULL || pointers == NULL)
        count = 0; /* then Harpoon finds fewer than it wants, and says so */
    for (size_t i = 0; i < count; i++) {
        domains[i] = (Harpoon__Agent__V1__Domain)HARPOON__AGENT__V1__DOMAIN__INIT;
        domains[i].droplet_id = hv->domains[i].droplet.v;
        domains[i].event_id = hv->domains[i].event.v;
        domains[i].attempt = hv->domains[i].attempt;
        domains[i].running = hv->domains[i].running;
        pointers[i] = &domains[i];
    }
    capacity.vcpus = hv->capacity.vcpus;
    capacity.memory_mib = hv->capacity.memory_mib;
    capacity.disk_gib = hv->capacity.disk_gib;
    attach.journal_id = hv->journal_id;
    attach.session = next_number(hv);
    attach.version = (char *)(uintptr_t)HARPOON_VERSION;
    attach.capacity = &capacity;
    attach.jobs_digest = book_digest(&hv->book);
    attach.jobs_open = book_open_count(&hv->book);
    attach.domains = pointers;
    attach.n_domains = count;
    attach.boot_id = hv->agent->boot_id;
    message.body_case = HARPOON__AGENT__V1__FROM_AGENT__BODY_ATTACH;
    message.attach = &attach;
    if (session_send(hv, &message, err) < 0) /* then the stream has ended: its end is on the way */
        log_debug("the attach was not sent", F_HYPERVISOR(hv->id.v), F_ERROR(err));
    free(domains);
    free(pointers);
}

static void on_listed(struct hypervisor *hv, struct probing *p)
{
    struct session *s = &hv->session;
    struct error err = {0};

    if (hv->agent->stopping || s->link != NULL)
        return;
    if (p->error.code != 0) {
        log_warn("the hypervisor's domains cannot be listed: not attaching", F_HYPERVISOR(hv->id.v),
                 F_ERROR(&p->error));
        connect_in(hv, backoff_next_ms(&s->backoff));
        return;
    }
    hypervisor_take_probe(hv, p);
    s->listed_ms = loop_now_ms(loop_of(hv));
    hypervisor_match_domains(hv);
    const char *address = next_address(hv);
    if (link_open(hv, address, &s->link, &err) < 0) {
        log_warn("cannot connect to a router", F_HYPERVISOR(hv->id.v), F_PEER(address),
                 F_ERROR(&err));
        connect_elsewhere(hv);
        return;
    }
    s->attaching = true;
    send_attach(hv, &err);
    loop_timer_set(loop_of(hv), &s->timer,
                   s->listed_ms + hv->agent->setup->config->answer_timeout_ms);
}

static void begin_attach(struct hypervisor *hv)
{
    if (!probe_ask(hv->agent->probe, hv, &hv->probing, hv->id, PROBE_DOMAINS, on_listed))
        connect_in(hv, AT_ONCE_MS);
}

static void on_timer(struct loop_timer *t)
{
    struct hypervisor *hv = OWNER_OF(t, struct hypervisor, session.timer);
    struct session *s = &hv->session;

    if (s->link == NULL) {
        begin_attach(hv);
    } else if (s->attaching) {
        log_warn("the router does not answer the attach", F_HYPERVISOR(hv->id.v),
                 F_PEER(next_address(hv)));
        drop_link(hv);
        connect_elsewhere(hv);
    } else if (hv->standing == STANDING_LATER) {
        session_renew(hv, 0);
    }
}

/* ---- the answer ---- */

static void log_orphans(const struct hypervisor *hv, const Harpoon__Agent__V1__Attached *in)
{
    for (size_t i = 0; i < in->n_orphans && i < LOGGED_ORPHANS; i++)
        log_warn("a domain that Harpoon does not want here: nothing of it is touched",
                 F_HYPERVISOR(hv->id.v), F_DROPLET(in->orphans[i]->droplet_id),
                 F_EVENT(in->orphans[i]->event_id), F_ATTEMPT(in->orphans[i]->attempt));
}

static void on_redirect(struct hypervisor *hv, const char *address)
{
    struct session *s = &hv->session;
    char *to = s->hops < MAX_HOPS && address[0] != 0 ? strdup(address) : NULL;

    drop_link(hv);
    if (to == NULL) {
        log_warn("sent from router to router: trying another", F_HYPERVISOR(hv->id.v));
        connect_elsewhere(hv);
        return;
    }
    s->hops++;
    forget_redirect(s);
    s->redirect = to;
    connect_in(hv, 0);
}

static void sample_in(struct hypervisor *hv, int64_t in_ms)
{
    loop_timer_set(loop_of(hv), &hv->session.sampler, loop_now_ms(loop_of(hv)) + in_ms + 1);
}

static void settle(struct hypervisor *hv, const Harpoon__Agent__V1__Attached *in)
{
    struct session *s = &hv->session;

    s->attaching = false;
    s->tried = 0;
    s->hops = 0;
    forget_redirect(s);
    backoff_reset(&s->backoff);
    loop_timer_clear(loop_of(hv), &s->timer);
    loop_timer_clear(loop_of(hv), &hv->fence_timer);
    s->sample_interval_ms = in->sample_interval_ms ? in->sample_interval_ms : SAMPLE_MS;
    if (s->sampler.slot == 0)
        sample_in(hv, random_below(s->sample_interval_ms));
    if (s->creates_told > 0)
        s->creates_told = SIZE_MAX;
    session_tell_creates(hv);
}

static void on_attached(struct hypervisor *hv, const Harpoon__Agent__V1__Attached *in)
{
    enum standing standing = STANDING_OK;

    if (in->verdict == HARPOON__AGENT__V1__ATTACHED__VERDICT__VERDICT_REDIRECT) {
        on_redirect(hv, in->address);
        return;
    }
    if (in->installation_id[0] != 0 && !hypervisor_learn_installation(hv, in->installation_id)) {
        log_error("this journal belongs to another installation", F_HYPERVISOR(hv->id.v),
                  F_STR("installation", in->installation_id),
                  F_STR("journal_installation", hv->installation));
        session_renew(hv, jitter_ms(PAUSE_MAX_MS, 50));
        return;
    }
    if (in->verdict == HARPOON__AGENT__V1__ATTACHED__VERDICT__VERDICT_FENCED)
        standing = STANDING_FENCED;
    else if (in->verdict != HARPOON__AGENT__V1__ATTACHED__VERDICT__VERDICT_OK)
        standing = STANDING_LATER; /* a verdict this version does not know is no permission */
    settle(hv, in);
    hypervisor_set_standing(hv, standing);
    log_info("attached", F_HYPERVISOR(hv->id.v), F_STR("standing", standing_name(standing)),
             F_STR("journal_id", hv->journal_id), F_U64("session", hv->session_number),
             F_U64("jobs_open", book_open_count(&hv->book)), F_U64("domains", hv->domain_count));
    log_orphans(hv, in);
    if (standing == STANDING_FENCED) {
        fence_begin(hv);
        return;
    }
    if (standing == STANDING_OK)
        hv->fencing = false;
    else
        loop_timer_set(loop_of(hv), &hv->session.timer,
                       loop_now_ms(loop_of(hv)) + jitter_ms(LATER_MS, 50));
    hypervisor_attached(hv);
}

/* ---- samples ---- */

/* Also what the router knows us alive by: what cannot be measured is said as it last was. */
static void send_sample(struct hypervisor *hv)
{
    Harpoon__Agent__V1__Sample sample = HARPOON__AGENT__V1__SAMPLE__INIT;
    Harpoon__Agent__V1__Capacity capacity = HARPOON__AGENT__V1__CAPACITY__INIT;
    Harpoon__Agent__V1__FromAgent message = HARPOON__AGENT__V1__FROM_AGENT__INIT;
    struct error err = {0};

    capacity.vcpus = hv->capacity.vcpus;
    capacity.memory_mib = hv->capacity.memory_mib;
    capacity.disk_gib = hv->capacity.disk_gib;
    sample.at_unix_ms = unix_ms();
    sample.cpu_permille = hv->sample.cpu_permille;
    sample.steal_permille = hv->sample.steal_permille;
    sample.iowait_permille = hv->sample.iowait_permille;
    sample.memory_pressure_permille = hv->sample.memory_pressure_permille;
    sample.network_bytes_per_s = hv->sample.network_bytes_per_s;
    sample.creates_in_flight = (uint32_t)hv->book.creates;
    sample.domains = (uint32_t)hv->domain_count;
    sample.capacity = &capacity;
    message.body_case = HARPOON__AGENT__V1__FROM_AGENT__BODY_SAMPLE;
    message.sample = &sample;
    if (session_send(hv, &message, &err) < 0)
        log_debug("a sample was not sent", F_HYPERVISOR(hv->id.v), F_ERROR(&err));
    hv->session.creates_told = hv->book.creates;
    hv->session.told_ms = loop_now_ms(loop_of(hv));
}

/* The scheduler places no more on a hypervisor with many creates in flight: when it learns of their
 * end only by the next sample, that interval paces them. */
void session_tell_creates(struct hypervisor *hv)
{
    struct session *s = &hv->session;

    if (session_is_attached(hv) && hv->book.creates != s->creates_told)
        loop_timer_set_by(loop_of(hv), &s->teller, s->told_ms + TELL_MS);
}

static void on_teller(struct loop_timer *t)
{
    struct hypervisor *hv = OWNER_OF(t, struct hypervisor, session.teller);

    if (session_is_attached(hv) && hv->book.creates != hv->session.creates_told)
        send_sample(hv);
}

static void on_sampled(struct hypervisor *hv, struct probing *p)
{
    if (p->error.code != 0) {
        log_debug("no sample", F_HYPERVISOR(hv->id.v), F_ERROR(&p->error));
    } else {
        if (p->asked & PROBE_DOMAINS)
            hv->session.listed_ms = loop_now_ms(loop_of(hv));
        hypervisor_take_probe(hv, p);
    }
    if (session_is_attached(hv))
        send_sample(hv);
}

static void on_sampler(struct loop_timer *t)
{
    struct hypervisor *hv = OWNER_OF(t, struct hypervisor, session.sampler);
    bool list = loop_now_ms(loop_of(hv)) - hv->session.listed_ms > LIST_EVERY_MS;

    sample_in(hv, jitter_ms(hv->session.sample_interval_ms, 10));
    if (!probe_ask(hv->agent->probe, hv, &hv->probing, hv->id,
                   PROBE_SAMPLE | (list ? PROBE_DOMAINS : 0), on_sampled))
        send_sample(hv); /* the driver takes its time */
}

/* ---- what the link brings ---- */

static void start_each(struct hypervisor *hv, const Harpoon__Agent__V1__Refs *refs,
                       void (*fn)(struct hypervisor *hv, event_id event, uint32_t attempt))
{
    for (size_t i = 0; i < refs->n_refs; i++)
        fn(hv, (event_id){refs->refs[i]->event_id}, refs->refs[i]->attempt);
}

/* The router is about to go: elsewhere in its own time. */
static void on_drain(struct hypervisor *hv, const Harpoon__Agent__V1__Drain *in)
{
    struct session *s = &hv->session;

    forget_redirect(s);
    if (in->address[0] != 0)
        s->redirect = strdup(in->address);
    else
        s->tried = 1; /* the next in line */
    log_info("the router drains: moving", F_HYPERVISOR(hv->id.v), F_PEER(in->address),
             F_MS("delay_ms", in->delay_ms));
    loop_timer_set(loop_of(hv), &hv->drain_timer, loop_now_ms(loop_of(hv)) + in->delay_ms + 1);
}

void session_on_message(struct hypervisor *hv, const Harpoon__Agent__V1__ToAgent *message)
{
    switch (message->body_case) {
    case HARPOON__AGENT__V1__TO_AGENT__BODY_ATTACHED:
        on_attached(hv, message->attached);
        break;
    case HARPOON__AGENT__V1__TO_AGENT__BODY_DELIVER:
        hypervisor_deliver(hv, message->deliver);
        break;
    case HARPOON__AGENT__V1__TO_AGENT__BODY_START:
        start_each(hv, message->start, hypervisor_start_job);
        break;
    case HARPOON__AGENT__V1__TO_AGENT__BODY_DROP:
        start_each(hv, message->drop, hypervisor_drop_job);
        break;
    case HARPOON__AGENT__V1__TO_AGENT__BODY_CONFIRMED:
        talk_confirmed(hv, message->confirmed);
        break;
    case HARPOON__AGENT__V1__TO_AGENT__BODY_REPORTED:
        talk_reported(hv, message->reported);
        break;
    case HARPOON__AGENT__V1__TO_AGENT__BODY_DRAIN:
        on_drain(hv, message->drain);
        break;
    case HARPOON__AGENT__V1__TO_AGENT__BODY__NOT_SET:
        log_debug("a message this version does not know", F_HYPERVISOR(hv->id.v));
        break;
    default: /* protobuf-c's own value for the size of the enum */
        break;
    }
}

void session_on_close(struct hypervisor *hv, const struct error *why)
{
    struct session *s = &hv->session;
    bool was_attached = session_is_attached(hv);

    metric_add(M_DISCONNECTS, 1, standing_name(hv->standing), NULL);
    if (was_attached)
        log_info("the stream ended", F_HYPERVISOR(hv->id.v),
                 F_STR("error", why->code ? why->message : ""));
    else
        log_debug("a router cannot be reached", F_HYPERVISOR(hv->id.v), F_PEER(next_address(hv)),
                  F_ERROR(why));
    s->link = NULL;
    s->attaching = false;
    loop_timer_clear(loop_of(hv), &s->timer);
    loop_timer_clear(loop_of(hv), &s->sampler);
    loop_timer_clear(loop_of(hv), &s->teller);
    loop_timer_clear(loop_of(hv), &hv->drain_timer);
    hypervisor_detached(hv);
    if (was_attached)
        connect_in(hv, pause_after_loss(hv->agent));
    else
        connect_elsewhere(hv);
}

void session_renew(struct hypervisor *hv, int64_t in_ms)
{
    drop_link(hv);
    connect_in(hv, in_ms);
}

static void on_drain_timer(struct loop_timer *t)
{
    session_renew(OWNER_OF(t, struct hypervisor, drain_timer), 0);
}

int session_init(struct hypervisor *hv, struct error *err)
{
    hv->session.timer.fire = on_timer;
    hv->session.sampler.fire = on_sampler;
    hv->session.teller.fire = on_teller;
    hv->drain_timer.fire = on_drain_timer;
    backoff_init(&hv->session.backoff,
                 (int)(spread_ms(hv->agent) > PAUSE_MS ? spread_ms(hv->agent) : PAUSE_MS),
                 PAUSE_MAX_MS, 0);
    return order_routers(hv, err);
}

void session_start(struct hypervisor *hv)
{
    connect_in(hv, random_below(spread_ms(hv->agent)));
}

void session_stop(struct hypervisor *hv)
{
    loop_timer_clear(loop_of(hv), &hv->session.timer);
    loop_timer_clear(loop_of(hv), &hv->drain_timer);
    drop_link(hv);
}

void session_fini(struct hypervisor *hv)
{
    forget_redirect(&hv->session);
    free(hv->session.order);
}
