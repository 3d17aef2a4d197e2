#include "harpoon/worker/pipeline.h"

#include "harpoon/worker/batch.h"
#include "lib/log.h"
#include "lib/macros.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pipelines {
    struct pipelines_options options;
    pthread_t *threads;
    struct batch **batches; /* one a thread */
    size_t count;
};

struct start {
    struct pipelines *pipelines;
    struct batch *batch;
};

static void *run(void *arg)
{
    struct start start = *(struct start *)arg;
    struct work *works[BATCH_MAX];
    size_t n;

    free(arg);
    while ((n = intake_take(start.pipelines->options.intake, works, BATCH_MAX)) > 0)
        batch_run(start.batch, works, n);
    return NULL;
}

static int start_thread(struct pipelines *p, struct error *err)
{
    struct start *start = malloc(sizeof *start);
    struct batch *batch = NULL;
    char name[16];
    int r = start != NULL ? batch_new(&p->options, &batch, err)
                          : error_set(err, ERR_INTERNAL, "out of memory");

    if (r == 0) {
        *start = (struct start){p, batch};
        int e = pthread_create(&p->threads[p->count], NULL, run, start);
        if (e != 0)
            r = error_set(err, ERR_INTERNAL, "pipeline's thread: %s", strerror(e));
    }
    if (r < 0) {
        batch_free(batch);
        free(start);
        return r;
    }
    snprintf(name, sizeof name, "pipeline-%zu", p->count);
    pthread_setname_np(p->threads[p->count], name);
    p->batches[p->count++] = batch;
    return 0;
}

int pipelines_start(const struct pipelines_options *options, struct pipelines **ret,
                    struct error *err)
{
    struct pipelines *p = calloc(1, sizeof *p);
    int r = 0;

    if (p == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    p->options = *options;
    p->threads = calloc(options->threads, sizeof *p->threads);
    p->batches = calloc(options->threads, sizeof(void *));
    if (p->threads == NULL || p->batches == NULL)
        r = error_set(err, ERR_INTERNAL, "out of memory");
    for (size_t i = 0; i < options->threads && r == 0; i++)
        r = start_thread(p, err);
    if (r < 0) {
        intake_close(options->intake);
        pipelines_stop(p);
        return r;
    }
    *ret = p;
    return 0;
}

struct pipelines *pipelines_stop(struct pipelines *p)
{
    if (p == NULL)
        return NULL;
    for (size_t i = 0; i < p->count; i++)
        pthread_join(p->threads[i], NULL);
    for (size_t i = 0; i < p->count; i++)
        batch_free(p->batches[i]);
    free(p->threads);
    free(p->batches);
    free(p);
    return NULL;
}
