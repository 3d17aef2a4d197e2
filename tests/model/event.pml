/* tests/model/event.pml: how an event travels (docs/protocol.md), for one droplet and in small: its
 * create, then perhaps its destroy or cleanup; two workers, one scheduler, two hypervisors with room
 * for one such VM each. README.md says what is in the model and what is not.
 *
 *   spin -a [-DOPTION…] event.pml         run.py knows which options must hold and which must not
 *
 * A message once sent may arrive whenever it likes, as often as it likes, or never: the network is a
 * set that only grows, so loss, delay, duplication, reordering, partitions and a wiped broker need no
 * steps of their own. A process that stands still is one that is not chosen. A worker that dies
 * forgets; an agent keeps what is in its journal and on its disk, and nothing else.
 *
 * Each …_turn is one participant's step, and is used twice: by the processes at the end, where any
 * step may come next, and by quiet(), where from any reachable state nature and customers hold still
 * and everybody does what comes first for him. There the first option that is possible is taken
 * (d_step), so their order is good will first; what only nature does is behind NATURE.
 */

/* ---- words ---- */

#ifndef ATTEMPTS
#define ATTEMPTS 2
#endif

mtype = { none, pending, dispatched, running, succeeded, failed, cancelled }; /* rows */
mtype = { idle, offered, held_there, letting_go };                           /* workers */
mtype = { unknown, held, begun, made, closed };                              /* jobs in a journal */
mtype = { not_given, given, closing, looking, absent };                      /* a destroy's job */

#define UNFINISHED(s) ((s) == pending || (s) == dispatched || (s) == running)
#define ENDED(s)      ((s) == succeeded || (s) == failed || (s) == cancelled)
#define UNDER_WAY(s)  ((s) == dispatched || (s) == running)
#define HIGHER(a, b)  ((a) > (b) -> (a) : (b))
#define NATURE        (!calm)

/* A set of (attempt, hypervisor). */
#define BIT(a, h)     (1 << (((a) - 1) * 2 + (h) - 1))
#define HAS(set, a, h) ((set & BIT(a, h)) != 0)

/* ---- what is stored: the database ---- */

mtype ev = pending;         /* the create: state, attempt, hypervisor once dispatched */
byte attempt = 1, host;
mtype fo = none;            /* the event that follows it: destroy or cleanup, on one hypervisor */
byte fo_host;
bool deleted;               /* the customer's DELETE was accepted */

/* ---- what is stored: the scheduler's ---- */

byte claim_host, claim_att; /* Place(n + 1) gives up the claim of n, so there is one at most */

/* ---- what is stored: the agents', by hypervisor ---- */

mtype job[3] = unknown;     /* the journal's entry for the create */
byte job_att[3], shut[3];   /* its attempt; no attempt up to `shut` ever runs here (again) */
mtype fo_job = not_given;   /* the journal's entry for the destroy, at fo_host */

/* ---- the truth ---- */

byte vm[3];                 /* the attempt that made the VM */
bool fenced[3];             /* powered off */
byte burnt[3];              /* the attempt that was there when it was powered off */
bool other[3];              /* somebody else's claim fills it */

/* ---- what is not stored ---- */

mtype w[2] = idle;          /* workers: what they are at, for which attempt, where */
byte w_att[2], w_host[2];
bool parting, fo_parting;   /* the claim is released, the end not yet stored */
byte asked;                 /* the reconciler has heard that this attempt's claim is not wanted */
byte delivers, starts, late_successes; /* under way; of reports only those that nobody repeats */

#ifdef JOURNAL_LOSS
byte lost;                  /* the hypervisor that lost its journal */
bool row_old, fo_old;       /* the row names the lost journal */
bool w_new[2];              /* the worker was answered by the new one */
#define NAMED    (!row_old)
#define FO_NAMED (!fo_old)
#else
#define NAMED    true
#define FO_NAMED true
#endif
#ifdef BUG_LOOSE_REFUSAL_CLOSES
byte refusals;              /* those that are in no journal */
#endif

bool calm;
hidden byte x, y, z, rounds, still;

/* ---- Harpoon's judgement, all from rows ---- */

/* One function says whether a claim is wanted. */
#ifdef BUG_WANTED_FORGETS_DESTROY
#define KEPT_BY_DESTROY false
#else
#define KEPT_BY_DESTROY UNFINISHED(fo)
#endif
#define WANTED(a) \
    ((UNFINISHED(ev) && attempt == a) || (ev == succeeded && attempt == a && fo != succeeded) || \
     KEPT_BY_DESTROY)

/* The row is the permission. */
#ifdef BUG_START_ONLY_WHILE_DISPATCHED
#define MAY_START(a, h) (ev == dispatched && attempt == a && host == h && NAMED)
#else
#define MAY_START(a, h) (UNDER_WAY(ev) && attempt == a && host == h && NAMED)
#endif
#define MUST_DROP(a)    (ENDED(ev) || attempt > a)
#ifdef BUG_DISCARD_AFTER_SUCCESS
#define KEEPS UNDER_WAY(ev)
#else
#define KEEPS (UNDER_WAY(ev) || ev == succeeded)
#endif
#define MUST_DISCARD(a, h) (!(KEEPS && attempt == a && host == h))

/* Closed counts only from the journal that the row names, or when an operator vouches. */
#if defined(BUG_ANY_JOURNAL_CLOSES)
#define CLOSED(a, h) (shut[h] >= a || fenced[h])
#elif defined(BUG_LOOSE_REFUSAL_CLOSES)
#define CLOSED(a, h) (shut[h] >= a || fenced[h] || HAS(refusals, a, h))
#else
#define CLOSED(a, h) ((shut[h] >= a && NAMED) || fenced[h])
#endif

/* ---- moves of the rows ---- */

inline move(to) {
    assert((ev == pending && (to == dispatched || to == pending || to == failed || to == cancelled)) ||
           (ev == dispatched && (to == running || to == succeeded || to == failed || to == pending)) ||
           (ev == running && (to == succeeded || to == failed || to == pending)));
    ev = to
}

inline follow_up(h) {
    assert(fo == none);
    fo = pending;
    fo_host = h
}

inline next_attempt() {
    move(pending);
    attempt++;
    host = 0;
    parting = false;
#ifdef JOURNAL_LOSS
    row_old = false;
#endif
}

inline succeed(h) {
    move(succeeded);
    parting = false;
    if
#ifndef BUG_SUCCESS_FORGETS_DELETE
    :: deleted -> follow_up(h)
#endif
    :: else
    fi
}

/* While it was pending nothing was made, so nothing need follow. */
inline pass_deadline() {
    parting = false;
    if
    :: ev == pending -> move(failed)
    :: else ->
        move(failed);
#ifndef BUG_DEADLINE_WITHOUT_CLEANUP
        follow_up(host)
#endif
    fi
}

/* Refused and in no journal, or not connected for too long: moves only a pending row. */
inline give_up_attempt() {
    if
    :: attempt < ATTEMPTS -> next_attempt()
    :: else -> move(failed)
    fi
}

inline accept_delete() {
    deleted = true;
    if
    :: ev == pending -> move(cancelled)
#ifdef BUG_DELETE_CANCELS_DISPATCHED
    :: UNDER_WAY(ev) -> ev = cancelled
#endif
    :: ev == succeeded -> follow_up(host)
    :: else /* under way: it ends first. failed: nothing is left, or its cleanup is at work */
    fi
}

/* ---- scheduler ---- */

/* As long as nothing tells the hypervisors apart, the first is as good as the second. */
#ifdef JOURNAL_LOSS
#define NOT_LOST (lost == 0)
#else
#define NOT_LOST true
#endif
#define ALIKE \
    (delivers == 0 && NOT_LOST && burnt[1] == 0 && burnt[2] == 0 && !other[1] && !other[2])

#define ROOM(h) (!fenced[h] && !other[h])

inline release_all() {
    claim_host = 0;
    claim_att = 0
}

inline release(a) {
    if
    :: claim_att == a -> release_all()
    :: else
    fi
}

#if defined(BUG_CLAIM_PER_DROPLET)
#define CAN_PLACE(a) (claim_host != 0 || ROOM(1) || ROOM(2))
#define SAME_CLAIM(a) (claim_host != 0)
#elif defined(BUG_PLACE_OBEYS_STALE)
#define CAN_PLACE(a) (claim_att == a || ROOM(1) || ROOM(2))
#define SAME_CLAIM(a) (claim_att == a)
#else
#define CAN_PLACE(a) (claim_att == a || (claim_att < a && (ROOM(1) || ROOM(2)))) /* else stale, or full */
#define SAME_CLAIM(a) (claim_att == a)
#endif

inline place(a) {
    if
    :: SAME_CLAIM(a) -> claim_att = a
    :: !SAME_CLAIM(a) && ROOM(1) -> claim_host = 1; claim_att = a
    :: !SAME_CLAIM(a) && ROOM(2) && !ALIKE -> claim_host = 2; claim_att = a
    fi
}

/* The reconciler asks, and acts on the answer later. */
inline reconciler_turn() {
    if
#ifndef BUG_NO_RECONCILER
    :: asked == 0 && claim_att != 0 && !WANTED(claim_att) -> asked = claim_att
#ifdef BUG_RECONCILER_RELEASES_ANY
    :: asked != 0 -> release_all(); asked = 0
#else
    :: asked != 0 -> release(asked); asked = 0
#endif
#endif
    :: calm -> still++
    fi
}

/* ---- workers ---- */

#define RANK(i) (w[i] * 16 + w_att[i] * 4 + w_host[i])

/* Which is which does not matter. */
inline sort_workers() {
    if
    :: RANK(0) < RANK(1) ->
        x = w[0]; w[0] = w[1]; w[1] = x;
        x = w_att[0]; w_att[0] = w_att[1]; w_att[1] = x;
        x = w_host[0]; w_host[0] = w_host[1]; w_host[1] = x;
#ifdef JOURNAL_LOSS
        x = w_new[0]; w_new[0] = w_new[1]; w_new[1] = x;
#endif
    :: else
    fi
}

inline rest(i) {
    w[i] = idle;
    w_att[i] = 0;
    w_host[i] = 0;
#ifdef JOURNAL_LOSS
    w_new[i] = false;
#endif
}

/* A message carries all that is needed, so an old one is acted on before the row is looked at. */
inline take_message(i, a) {
    place(a);
    w[i] = offered;
    w_att[i] = a;
    w_host[i] = claim_host;
    delivers = delivers | BIT(a, claim_host)
}

inline dispatch(i) {
    move(dispatched);
    host = w_host[i];
#ifdef JOURNAL_LOSS
    row_old = (lost != 0 && host == lost && !w_new[i]);
    if
    :: row_old
    :: else -> starts = starts | BIT(w_att[i], host)
    fi
#else
    starts = starts | BIT(w_att[i], host)
#endif
}

/* The compare-and-set hit nothing. */
inline miss(i) {
    if
#ifndef BUG_MISS_RELEASES
    :: WANTED(w_att[i]) -> rest(i)
#endif
    :: else -> w[i] = letting_go
    fi
}

#ifdef BUG_CLAIM_PER_DROPLET
#define LET_GO(a) release_all()
#else
#define LET_GO(a) release(a)
#endif
#ifdef BUG_MOVE_IGNORES_ATTEMPT
#define STORE_HITS(a) (ev == pending)
#else
#define STORE_HITS(a) (ev == pending && attempt == a)
#endif
#ifdef BUG_START_BEFORE_STORE
#define START_AT_ONCE(i) starts = starts | BIT(w_att[i], w_host[i])
#else
#define START_AT_ONCE(i) skip
#endif
#define ANSWERED(i) \
    (job_att[w_host[i]] == w_att[i] && \
     (job[w_host[i]] == held || job[w_host[i]] == begun || job[w_host[i]] == made))

#define TAKE(i, a) (w[i] == idle && CAN_PLACE(a) && a <= attempt && (NATURE || (ev == pending && attempt == a)))

inline worker_turn(i) {
    if
    :: TAKE(i, 1) -> take_message(i, 1)
    :: TAKE(i, 2) -> take_message(i, 2)
#if ATTEMPTS > 2
    :: TAKE(i, 3) -> take_message(i, 3)
#endif
    :: w[i] == offered && ANSWERED(i) ->
        w[i] = held_there;
#ifdef JOURNAL_LOSS
        w_new[i] = (lost == w_host[i]);
#endif
        START_AT_ONCE(i)
    :: w[i] == offered && (NATURE || !ANSWERED(i)) -> /* refused, or no answer */
        if
        :: ev == pending && attempt == w_att[i] -> give_up_attempt(); rest(i)
        :: else -> miss(i)
        fi
    :: w[i] == held_there ->
        if
        :: STORE_HITS(w_att[i]) -> dispatch(i); rest(i)
        :: MAY_START(w_att[i], w_host[i]) ->
            starts = starts | BIT(w_att[i], w_host[i]);
            rest(i)
        :: else -> miss(i)
        fi
    :: w[i] == letting_go -> LET_GO(w_att[i]); rest(i)
    :: NATURE && w[i] != idle -> rest(i) /* dies */
    :: calm -> still++
    fi;
    sort_workers()
}

/* ---- agents ---- */

inline close(h) {
    if
    :: job[h] == made -> late_successes = late_successes | BIT(job_att[h], h)
    :: else
    fi;
    shut[h] = HIGHER(shut[h], job_att[h]);
    job[h] = closed
}

inline undo(h) {
    vm[h] = 0;
    close(h)
}

/* A lower attempt than one seen is refused; one that has begun is in the way of a higher. */
#define TAKES(a, h) \
    (HAS(delivers, a, h) && a > shut[h] && \
     (job[h] == unknown || job[h] == closed || (job[h] == held && job_att[h] < a)))

inline accept(a, h) {
    shut[h] = HIGHER(shut[h], a - 1);
    job_att[h] = a;
    job[h] = held
}

#ifdef BUG_LOOSE_REFUSAL_CLOSES
#define REFUSE(a, h) refusals = refusals | BIT(a, h)
#else
#define REFUSE(a, h) shut[h] = a; job_att[h] = a; job[h] = closed /* durably */
#endif

#ifdef BUG_DROP_STARTED
#define DROPPABLE(h) (job[h] == held || job[h] == begun || job[h] == made)
#define DROP(h) undo(h)
#else
#define DROPPABLE(h) (job[h] == held)
#define DROP(h) job[h] = unknown; job_att[h] = 0
#endif

#ifdef JOBS_FAIL
#define WORKS NATURE
#define FAILS true
#else
#define WORKS true
#define FAILS NATURE
#endif

inline agent_turn(h) {
    if
    :: !fenced[h] && job[h] == held && MAY_START(job_att[h], h) -> job[h] = begun /* Start, Confirm */
    :: !fenced[h] && job[h] == held && HAS(starts, job_att[h], h) -> job[h] = begun /* a late Start */
    :: !fenced[h] && DROPPABLE(h) && MUST_DROP(job_att[h]) -> DROP(h)
    :: !fenced[h] && WORKS && job[h] == begun && vm[h] == 0 -> vm[h] = job_att[h]
    :: !fenced[h] && WORKS && job[h] == begun && vm[h] != 0 -> job[h] = made
    :: !fenced[h] && (job[h] == begun || job[h] == made) && MUST_DISCARD(job_att[h], h) -> undo(h)
    :: !fenced[h] && FAILS && job[h] == begun -> undo(h)
    :: !fenced[h] && TAKES(1, h) -> accept(1, h)
    :: !fenced[h] && TAKES(2, h) -> accept(2, h)
    :: NATURE && !fenced[h] && TAKES(1, h) -> REFUSE(1, h)
    :: NATURE && !fenced[h] && TAKES(2, h) -> REFUSE(2, h)
#if ATTEMPTS > 2
    :: !fenced[h] && TAKES(3, h) -> accept(3, h)
    :: NATURE && !fenced[h] && TAKES(3, h) -> REFUSE(3, h)
#endif
    :: NATURE && !fenced[h] && job[h] == begun && vm[h] != 0 -> vm[h] = 0 /* undone, not yet noted */
#ifdef FORGETFUL
    :: NATURE && !fenced[h] && job[h] == begun -> job[h] = held /* beginning needs no fsync */
#endif
#ifdef BUG_UNKNOWN_DESTROYS
    :: NATURE && !fenced[h] && job[h] == made -> undo(h)
#endif
    :: calm -> still++
    fi
}

/* ---- reports and the sweeper: moves of the create's row ---- */

#define SUCCESS(a, h) \
    (UNDER_WAY(ev) && attempt == a && host == h && \
     (HAS(late_successes, a, h) || (job[h] == made && job_att[h] == a)))
#define BEGINS(h) \
    (ev == dispatched && host == h && job_att[h] == attempt && (job[h] == begun || job[h] == made))

#define OVER (UNDER_WAY(ev) && CLOSED(attempt, host))

inline report_turn() {
    if
    :: SUCCESS(attempt, 1) -> succeed(1)
    :: SUCCESS(attempt, 2) -> succeed(2)
    :: BEGINS(1) || BEGINS(2) -> move(running)
    :: OVER && attempt < ATTEMPTS && !deleted -> next_attempt()
    :: OVER && (attempt == ATTEMPTS || deleted) && !parting -> release(attempt); parting = true
    :: UNDER_WAY(ev) && parting -> move(failed); parting = false
#ifdef BUG_NEXT_UNCLOSED
    :: NATURE && UNDER_WAY(ev) && attempt < ATTEMPTS -> next_attempt()
#endif
    :: NATURE && UNFINISHED(ev) -> pass_deadline()
    :: calm -> still++
    fi
}

/* ---- the destroy or cleanup: row, worker and agent in one ---- */

#ifdef JOURNAL_LOSS
#define TO_LOST_JOURNAL (fo == pending && lost != 0 && lost == fo_host)
#else
#define TO_LOST_JOURNAL false
#endif

inline fo_dispatch(old) {
    fo = dispatched;
#ifdef JOURNAL_LOSS
    fo_old = old;
#endif
}

/* First no other job of the droplet begins or goes on, durably; then it looks for the domain. */
inline close_others(h) {
#if defined(BUG_DESTROY_LEAVES_JOBS)
    skip
#elif defined(BUG_DESTROY_LEAVES_HELD)
    if
    :: job[h] == begun || job[h] == made -> close(h); shut[h] = ATTEMPTS + 1
    :: else
    fi
#else
    close(h);
    shut[h] = ATTEMPTS + 1
#endif
}

#ifdef BUG_RELEASE_BEFORE_ABSENT
#define NOTHING_LEFT UNFINISHED(fo)
#else
#define NOTHING_LEFT ((fo == dispatched && fo_job == absent) || (UNFINISHED(fo) && fenced[fo_host]))
#endif

inline follow_up_turn() {
    if
    :: NOTHING_LEFT && !fo_parting -> release_all(); fo_parting = true
    :: fo_parting -> fo = succeeded; fo_parting = false
    :: UNFINISHED(fo) && fo_job == not_given && !fenced[fo_host] -> fo_job = given
    :: fo == pending && fo_job == given -> fo_dispatch(false)
    :: NATURE && TO_LOST_JOURNAL -> fo_dispatch(true) /* a slow worker, with the old answer */
#ifndef BUG_DESTROY_BOUND_TO_JOURNAL
    :: fo == dispatched && fo_job == given && !FO_NAMED -> fo_dispatch(false) /* again, to the new one */
#endif
    :: fo == dispatched && fo_job == given && FO_NAMED && !fenced[fo_host] -> fo_job = closing
    :: fo_job == closing && !fenced[fo_host] -> close_others(fo_host); fo_job = looking
    :: fo_job == looking && !fenced[fo_host] -> vm[fo_host] = 0; fo_job = absent
    :: calm -> still++
    fi
}

/* ---- customers, operators, disasters ---- */

inline fence(h) {
    fenced[h] = true;
    burnt[h] = (host == h -> attempt : ATTEMPTS + 1);
    vm[h] = 0
}

/* It comes back with every old job closed. */
inline unfence(h) {
    fenced[h] = false;
#ifndef BUG_UNFENCE_KEEPS_JOURNAL
    close(h);
    shut[h] = ATTEMPTS + 1
#endif
}

#ifdef JOURNAL_LOSS
/* The domains stay. A Start names its journal, so those under way mean nothing to the new one. */
inline lose_journal(h) {
    lost = h;
    if
    :: job[h] == made -> late_successes = late_successes | BIT(job_att[h], h)
    :: else
    fi;
    job[h] = unknown;
    job_att[h] = 0;
    shut[h] = 0;
    for (x : 1 .. ATTEMPTS) {
        starts = starts & (255 - BIT(x, h))
    }
    row_old = row_old || (UNDER_WAY(ev) && host == h);
    if
    :: fo_host == h -> fo_old = fo_old || (fo == dispatched); fo_job = not_given
    :: else
    fi
}
#endif

inline misfortune() {
    if
#ifndef NO_DELETE
    :: !deleted -> accept_delete()
#endif
#ifdef OTHERS
    :: !other[1] && claim_host != 1 && !fenced[1] -> other[1] = true
    :: !other[2] && claim_host != 2 && !fenced[2] && !ALIKE -> other[2] = true
    :: other[1] -> other[1] = false
    :: other[2] -> other[2] = false
#endif
#ifdef FENCES
    :: burnt[1] == 0 && burnt[2] == 0 -> fence(1) /* one of them, once */
    :: burnt[1] == 0 && burnt[2] == 0 && !ALIKE -> fence(2)
#endif
#ifdef UNFENCES
    :: fenced[1] -> unfence(1)
    :: fenced[2] -> unfence(2)
#endif
#ifdef JOURNAL_LOSS
    :: lost == 0 && !fenced[1] -> lose_journal(1)
    :: lost == 0 && !fenced[2] && !ALIKE -> lose_journal(2)
#endif
    :: calm -> skip
    fi
}

/* ---- promises ---- */

#define ONE_VM          (!(vm[1] != 0 && vm[2] != 0))
#define VM_HAS_CLAIM(h) (vm[h] == 0 || (claim_host == h && claim_att == vm[h]))
#define NO_OVERCOMMIT   (!(vm[1] != 0 && other[1]) && !(vm[2] != 0 && other[2]))
#define SUCCEEDED_LIVES (ev != succeeded || fo != none || burnt[host] == attempt || vm[host] == attempt)

inline check_promises() {
    assert(ONE_VM);
    assert(VM_HAS_CLAIM(1) && VM_HAS_CLAIM(2));
    assert(NO_OVERCOMMIT);
    assert(SUCCEEDED_LIVES)
}

/* A good end: every row final; a VM and its claim where it succeeded and is wanted; else nothing. */
inline check_end() {
    assert(ENDED(ev));
    assert(!UNFINISHED(fo));
    assert(!(deleted && ev == succeeded && fo != succeeded));
    if
    :: ev == succeeded && !deleted ->
        assert(burnt[host] == attempt || (vm[host] == attempt && claim_host == host && claim_att == attempt))
    :: else -> assert(vm[1] == 0 && vm[2] == 0 && claim_att == 0)
    fi
}

/* ---- quiet: from here on nothing goes wrong, but all that was under way is lost ---- */

/* No room, or nobody left who could start or close it. */
#define ONLY_TIME_HELPS ((ev == pending && !CAN_PLACE(attempt)) || (UNDER_WAY(ev) && !NAMED))
#define TURNS      6
#define ROUNDS_MAX 60

inline forget_the_volatile() {
    rest(0);
    rest(1);
    delivers = 0;
    starts = 0;
    late_successes = 0;
    asked = 0;
    parting = false;
    fo_parting = false
}

inline recover() {
    rounds = 0;
    do
    :: rounds < ROUNDS_MAX ->
        rounds++;
        still = 0;
        agent_turn(1);
        agent_turn(2);
        report_turn();
        worker_turn(0);
        follow_up_turn();
        reconciler_turn();
        check_promises();
        if
        :: still == TURNS && UNFINISHED(ev) ->
            assert(ONLY_TIME_HELPS);
            pass_deadline()
        :: still == TURNS && !UNFINISHED(ev) -> break
        :: else
        fi
    :: else -> assert(false) /* it never comes to rest */
    od
}

/* Back to the first state, which is known already. */
inline begin_anew() {
    ev = pending; attempt = 1; host = 0; fo = none; fo_host = 0; deleted = false;
    claim_host = 0; claim_att = 0; fo_job = not_given;
    job[1] = unknown; job_att[1] = 0; shut[1] = 0; vm[1] = 0;
    job[2] = unknown; job_att[2] = 0; shut[2] = 0; vm[2] = 0;
    fenced[1] = false; burnt[1] = 0; other[1] = false;
    fenced[2] = false; burnt[2] = 0; other[2] = false;
#ifdef JOURNAL_LOSS
    lost = 0; row_old = false; fo_old = false;
#endif
#ifdef BUG_LOOSE_REFUSAL_CLOSES
    refusals = 0;
#endif
    forget_the_volatile();
    calm = false
}

#ifdef JOBS_FAIL
#define UNTROUBLED false
#else
#define UNTROUBLED \
    (ev == pending && attempt == 1 && !deleted && shut[1] == 0 && shut[2] == 0 && (ROOM(1) || ROOM(2)))
#endif

inline quiet() {
    calm = true;
    y = UNTROUBLED;
    forget_the_volatile();
    recover();
    assert(!y || ev == succeeded);
    check_end();
    begin_anew()
}

/* ---- everybody ---- */

active proctype workers()
{
end:
    do
    :: atomic { worker_turn(0) }
#ifndef ONE_WORKER
    :: atomic { worker_turn(1) }
#endif
    od
}

active proctype agents()
{
end:
    do
    :: atomic { agent_turn(1) }
    :: atomic { agent_turn(2) }
    od
}

active proctype harpoon()
{
end:
    do
    :: atomic { report_turn() }
    :: atomic { follow_up_turn() }
    :: atomic { reconciler_turn() }
    od
}

active proctype world()
{
end:
    do
    :: atomic { misfortune() }
    :: d_step { quiet() }
    od
}

/* Not vacuous: each of these must be reachable. */
#if PROBE == 1
#define GOAL (ev == succeeded && attempt == ATTEMPTS && host == 2 && vm[2] == ATTEMPTS && job[1] == closed)
#elif PROBE == 2
#define GOAL (ev == succeeded && fo == succeeded && fo_job == absent && fo_host == 2)
#elif PROBE == 3
#define GOAL (ev == failed && fo == succeeded && claim_att != 0 && w[0] == letting_go)
#elif PROBE == 4
#define GOAL (ev == succeeded && attempt == 1 && w[0] == held_there && w_att[0] == 1)
#else
#define GOAL false
#endif

active proctype watch()
{
end:
    do
    :: !ONE_VM -> assert(ONE_VM)
    :: !(VM_HAS_CLAIM(1) && VM_HAS_CLAIM(2)) -> assert(VM_HAS_CLAIM(1) && VM_HAS_CLAIM(2))
    :: !NO_OVERCOMMIT -> assert(NO_OVERCOMMIT)
    :: !(SUCCEEDED_LIVES) -> assert(SUCCEEDED_LIVES)
    :: GOAL -> assert(!GOAL)
    od
}
