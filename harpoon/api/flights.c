#include "harpoon/api/flights.h"

#include "lib/macros.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS   1024 /* a power of two; requests at work are bounded by the connections */
#define NAME_MAX_ 255

struct flights {
    pthread_mutex_t lock;
    struct flight *buckets[BUCKETS]; /* guarded by lock */
};

bool idempotency_is_name(const char *text)
{
    size_t len = strlen(text);

    if (len == 0 || len > NAME_MAX_)
        return false;
    for (size_t i = 0; i < len; i++)
        if (text[i] < ' ' || text[i] > '~')
            return false;
    return true;
}

void idempotency_hash(const char *method, const char *path, const void *body, size_t size,
                      uint8_t ret[DIGEST_SHA256])
{
    uint8_t parts[3][DIGEST_SHA256];
    size_t len = strlen(path);

    while (len > 1 && path[len - 1] == '/')
        len--;
    digest_sha256(method, strlen(method), parts[0]);
    digest_sha256(path, len, parts[1]);
    digest_sha256(body, size, parts[2]);
    digest_sha256(parts, sizeof parts, ret);
}

int flights_new(struct flights **ret, struct error *err)
{
    struct flights *f = calloc(1, sizeof *f);

    if (f == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    pthread_mutex_init(&f->lock, NULL);
    *ret = f;
    return 0;
}

struct flights *flights_free(struct flights *f)
{
    if (f == NULL)
        return NULL;
    pthread_mutex_destroy(&f->lock);
    free(f);
    return NULL;
}

static struct flight **bucket_of(struct flights *f, const struct idempotency_key *key)
{
    uint64_t hash = key->account.v * UINT64_C(0x9E3779B97F4A7C15);

    for (const char *p = key->name; *p != 0; p++)
        hash = (hash ^ (uint8_t)*p) * UINT64_C(0x100000001B3);
    return &f->buckets[(hash >> 20) % BUCKETS];
}

enum flight_verdict flights_begin(struct flights *f, struct flight *flight)
{
    const struct idempotency_key *key = &flight->key;

    LOCK_SCOPE(&f->lock);
    struct flight **bucket = bucket_of(f, key);
    for (const struct flight *at = *bucket; at != NULL; at = at->next)
        if (at->key.account.v == key->account.v && strcmp(at->key.name, key->name) == 0)
            return memcmp(at->key.hash, key->hash, sizeof key->hash) == 0 ? FLIGHT_SAME
                                                                          : FLIGHT_OTHER;
    flight->next = *bucket;
    *bucket = flight;
    return FLIGHT_BEGUN;
}

void flights_end(struct flights *f, struct flight *flight)
{
    LOCK_SCOPE(&f->lock);
    struct flight **at = bucket_of(f, &flight->key);
    while (*at != NULL && *at != flight)
        at = &(*at)->next;
    assert(*at == flight);
    *at = flight->next;
}
