#include "harpoon/worker/facts.h"

#include "lib/macros.h"

#include <pthread.h>
#include <stdlib.h>

struct facts {
    pthread_mutex_t lock;
    bool known;               /* guarded by lock, as all below */
    struct uuid installation; /* once known */
    struct fence_set fences;
};

int facts_new(struct facts **ret, struct error *err)
{
    struct facts *f = calloc(1, sizeof *f);

    if (f == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    pthread_mutex_init(&f->lock, NULL);
    *ret = f;
    return 0;
}

struct facts *facts_free(struct facts *f)
{
    if (f != NULL) {
        fences_free(&f->fences);
        pthread_mutex_destroy(&f->lock);
        free(f);
    }
    return NULL;
}

bool facts_installation(struct facts *f, struct uuid *ret)
{
    LOCK_SCOPE(&f->lock);

    if (f->known)
        *ret = f->installation;
    return f->known;
}

void facts_set_installation(struct facts *f, const struct uuid *installation)
{
    LOCK_SCOPE(&f->lock);

    if (!f->known)
        f->installation = *installation;
    f->known = true;
}

void facts_set_fences(struct facts *f, struct fence_set *set)
{
    LOCK_SCOPE(&f->lock);

    fences_free(&f->fences);
    f->fences = *set;
    *set = (struct fence_set){0};
}

bool facts_is_fenced(struct facts *f, hypervisor_id hypervisor)
{
    LOCK_SCOPE(&f->lock);

    return fences_hold(&f->fences, hypervisor);
}
