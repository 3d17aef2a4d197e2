#include "harpoon/api/catalog_cache.h"

#include <pthread.h>
#include <stdlib.h>

struct catalog_cache {
    pthread_mutex_t lock;
    struct view *view; /* guarded by lock; NULL: not loaded yet */
};

int catalog_cache_new(struct catalog_cache **ret, struct error *err)
{
    struct catalog_cache *c = calloc(1, sizeof *c);

    if (c == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    pthread_mutex_init(&c->lock, NULL);
    *ret = c;
    return 0;
}

struct catalog_cache *catalog_cache_free(struct catalog_cache *c)
{
    if (c == NULL)
        return NULL;
    view_unref(c->view);
    pthread_mutex_destroy(&c->lock);
    free(c);
    return NULL;
}

struct view *catalog_cache_get(struct catalog_cache *c)
{
    LOCK_SCOPE(&c->lock);
    return c->view != NULL ? view_ref(c->view) : NULL;
}

int64_t catalog_cache_age_ms(struct catalog_cache *c, int64_t now_mono_ms)
{
    LOCK_SCOPE(&c->lock);
    return c->view != NULL ? now_mono_ms - c->view->catalog->loaded_mono_ms : INT64_MAX;
}

int catalog_cache_reload(struct catalog_cache *c, struct sql *db, struct error *err)
{
    struct catalog *catalog = NULL;
    int r = catalog_load(db, &catalog, err);

    if (r < 0)
        return r;
    struct view *fresh = view_new(catalog), *old;
    if (fresh == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    pthread_mutex_lock(&c->lock);
    old = c->view;
    c->view = fresh;
    pthread_mutex_unlock(&c->lock);
    view_unref(old);
    return 0;
}
