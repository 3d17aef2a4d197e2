/* harpoon/worker/batch_internal.h: what batch.c (place, deliver) and batch_store.c (store, start)
 * share. */
#pragma once

#include "harpoon/worker/batch.h"

#include <pthread.h>
#include <stdbool.h>

#define INPUTS_MAX 2

enum todo {
    TODO_PLACE,
    TODO_DELIVER,
    TODO_STORE,
    TODO_END,  /* acknowledge */
    TODO_HOLD, /* a peer is away: nothing could be stored */
};

struct task { /* one work on its way */
    struct batch *batch;
    struct work *work;
    enum todo todo;
    struct transition inputs[INPUTS_MAX];
    unsigned input_count;
    int result; /* guarded by the batch's lock while inputs are open: the worst of them */
};

struct batch {
    const struct pipelines_options *options;
    struct task tasks[BATCH_MAX];
    size_t count;
    size_t region;
    const char *slug;
    char installation[UUID_TEXT];
    bool dark;
    char away[160]; /* which peer is; empty: none */

    /* scratch of the steps */
    struct task *chosen[BATCH_MAX];
    size_t chosen_count;
    struct work *works[BATCH_MAX];
    struct placement placements[BATCH_MAX];
    Harpoon__Job__V1__Job jobs[BATCH_MAX];
    struct delivery deliveries[BATCH_MAX];
    struct courier_ref starts[BATCH_MAX], drops[BATCH_MAX];
    size_t start_count, drop_count;

    pthread_mutex_t lock;
    pthread_cond_t stored;
    size_t open; /* guarded by lock: inputs not answered yet */
};

/* Those with this to do, into `chosen`. */
void batch_choose(struct batch *b, enum todo todo);
/* Nothing is stored for it: `peer` is away. */
void batch_hold(struct batch *b, struct task *t, const char *peer, const char *why);
/* Has stored what the tasks' inputs say and waits for it; then tells the agents. */
void batch_store(struct batch *b);
/* Gives every work back to the intake. */
void batch_finish(struct batch *b);
