/* harpoon/worker/reads_internal.h: what reads.c (the batcher) and reads_answer.c (the questions)
 * share. */
#pragma once

#include "harpoon/worker/reads.h"
#include "proto/harpoon.pb-c.h"

#define READ_BATCH 64
#define CHUNK      1000 /* rows read at a time */
#define READ_TICK  ((enum read_kind)(READ_WANTED + 1))
#define TAKEN_MAX  128

struct read_task {
    enum read_kind kind;
    struct rpc_call *call;
    union {
        const ProtobufCMessage *message;
        const Harpoon__Internal__V1__AttachRequest *attach;
        const Harpoon__Internal__V1__ConfirmRequest *confirm;
        const Harpoon__Internal__V1__ClaimsWantedRequest *wanted;
    } in;
    size_t attached_count; /* of `attached`: `in` is gone once the call is answered */
    int result;            /* below 0: `err` is the answer */
    struct error err;

    /* The answers, one for each item, made when it is flushed. */
    Harpoon__Job__V1__Answer *answers;             /* confirm */
    protobuf_c_boolean *wanted;                    /* claims */
    Harpoon__Internal__V1__AttachResult *attached; /* attach */
    Harpoon__Internal__V1__AttachResult **attached_list;

    struct queue_taken taken[TAKEN_MAX]; /* tick */
    size_t taken_count;
};

struct reads {
    struct facts *facts;
    struct sql *db;
    struct batcher *batcher;
    bool failing;           /* the flusher's: logged already */
    struct read_task *tick; /* one for the whole life */
    atomic_bool ticking;    /* it is queued */
    struct chunk *chunk;    /* the flusher's */
};

/* Each answers or fails every task of its kind; on the flusher's thread. */
void reads_answer_confirms(struct reads *r, struct read_task **tasks, size_t count);
void reads_answer_wanted(struct reads *r, struct read_task **tasks, size_t count);
void reads_answer_attaches(struct reads *r, struct read_task **tasks, size_t count);

struct chunk *chunk_new(void);
void chunk_free(struct chunk *c);
