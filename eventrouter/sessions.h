/* eventrouter/sessions.h: the streams of agents: who is there, what Harpoon said of them, how they
 * fare. One hypervisor has at most one session; a newer stream takes the place of the older.
 * Threads: any. Nothing is sent while the table is locked. */
#pragma once

#include "eventrouter/average.h"
#include "lib/error.h"
#include "lib/rpc/rpc.h"
#include "lib/uuid.h"
#include "proto/agent.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum session_state {
    SESSION_OPEN,   /* a stream that has not said Attach */
    SESSION_ASKING, /* attached, Harpoon has not answered */
    SESSION_LATER,  /* so, and the agent knows that Harpoon is away */
    SESSION_OK,
    SESSION_FENCED,
    SESSION_ENDED,
    SESSION_STATES,
};
const char *session_state_name(enum session_state state);

struct session; /* reference counted */
struct sessions;

/* What is known of a session at one moment. */
struct session_view {
    enum session_state state;
    uint64_t hypervisor_id;
    uint64_t number;     /* its session number, of the agent's making */
    uint32_t generation; /* of its newest Attach */
    char journal_id[UUID_TEXT];
    char region[32];
    bool compared;
    uint32_t jobs_open;
    int64_t attached_unix_ms, seen_unix_ms;
    const char *end_reason; /* NULL: not ended by this router */
};

struct sessions *sessions_new(size_t max);
struct sessions *sessions_free(struct sessions *t); /* NULL is fine; gives NULL */

struct session *session_ref(struct session *s);
void session_unref(struct session *s);
uint64_t session_serial(const struct session *s); /* of this process, never used again */
uint64_t session_hypervisor(const struct session *s);
/* ERR_BUSY: its queue is full, it does not read. ERR_UNAVAILABLE: it has ended. */
int session_send(struct session *s, const Harpoon__Agent__V1__ToAgent *message,
                 struct error *err) MUST_CHECK;
size_t session_queued(struct session *s);
/* Ends the stream; `reason` (static, a word) is the first one's. `err` NULL: it ends well. */
void session_finish(struct session *s, const char *reason, const struct error *err);
/* Takes `n` of what a session may have under way to Harpoon; false: too many. */
bool session_reserve(struct session *s, unsigned n);
void session_release(struct session *s, unsigned n);
/* The same for an Attach that waits for its answer. */
bool session_reserve_attach(struct session *s);
void session_release_attach(struct session *s);

/* A stream has come. The caller has the reference. ERR_BUSY: as many as there may
 * be, here or of one hypervisor. */
int sessions_open(struct sessions *t, struct rpc_stream *stream, int64_t now_mono_ms,
                  struct session **ret, struct error *err) MUST_CHECK;
/* Attach has been said, for the first time or again; its verdict is awaited. *ret_replaced (may
 * become NULL) is the session that this one takes the place of, for the caller to finish and unref.
 * ERR_CONFLICT: a newer stream of the same journal is there. ERR_INVALID: a stream keeps its
 * journal and number. */
int sessions_attach(struct sessions *t, struct session *s, const Harpoon__Agent__V1__Attach *attach,
                    struct session **ret_replaced, uint32_t *ret_generation,
                    struct error *err) MUST_CHECK;
/* Whether Attach number `generation` of it still awaits its verdict. */
bool sessions_awaits(struct sessions *t, struct session *s, uint32_t generation);
/* SESSION_LATER, _OK or _FENCED. false: not awaited any more, or (LATER) said already. */
bool sessions_decide(struct sessions *t, struct session *s, uint32_t generation,
                     enum session_state state, bool compared);
/* A message has come from it. */
enum session_state sessions_see(struct sessions *t, struct session *s, int64_t now_mono_ms);
void sessions_sample(struct sessions *t, struct session *s,
                     const Harpoon__Agent__V1__Sample *sample);
/* The stream has closed. *ret is how it was. */
void sessions_close(struct sessions *t, struct session *s, struct session_view *ret);

/* The attached session of a hypervisor, with a reference. NULL: none here. */
struct session *sessions_find(struct sessions *t, uint64_t hypervisor_id, struct session_view *ret);
void sessions_view(struct sessions *t, struct session *s, struct session_view *ret);
/* Streams from which nothing has come since `silent_since_mono_ms` (INT64_MAX: all), each with a
 * reference, in an array the caller frees. Those that Harpoon has not answered get until
 * `patience_since_mono_ms`. */
size_t sessions_collect(struct sessions *t, int64_t silent_since_mono_ms,
                        int64_t patience_since_mono_ms, struct session ***ret);
void sessions_unref_all(struct session **list, size_t count); /* and frees the array */
void sessions_count(struct sessions *t, size_t ret[SESSION_STATES]);
size_t sessions_open_count(struct sessions *t);

/* ---- what schedulers are told ---- */

struct observed {
    uint64_t hypervisor_id, number;
    uint64_t change; /* the number of its last coming, going or comparison */
    bool attached, compared;
    bool due; /* to be named, changed or not */
    char journal_id[UUID_TEXT];
    struct average_result average;
};
/* Takes the averages, and gives a row for each session with samples, or due by `slice` (of
 * `slices`), or changed after `after_change`; those that left come first. *ret_change: the number
 * of the last change there was. The caller frees *ret. */
size_t sessions_observe(struct sessions *t, uint64_t after_change, unsigned slice, unsigned slices,
                        struct observed **ret, uint64_t *ret_change);
/* Everybody knows of the changes up to this one. */
void sessions_forget_left(struct sessions *t, uint64_t up_to_change);
