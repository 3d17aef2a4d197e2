/* lib/macros.h: the few macros the house allows itself. */
#pragma once

#include <pthread.h>
#include <stddef.h>

#define MUST_CHECK   __attribute__((warn_unused_result))
#define PRINTF(f, a) __attribute__((format(printf, f, a)))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define UNUSED(x)    ((void)(x))

/* AUTO(x_free) struct x *v = NULL; calls x_free(v) when v goes out of scope; x_free takes the
 * pointer and may return anything. Declare the hook once beside x_free: AUTO_DEFINE(x_free, struct
 * x *). */
#define AUTO(free_function) __attribute__((cleanup(auto_##free_function)))
#define AUTO_DEFINE(free_function, type)                                                           \
    static inline __attribute__((unused)) void auto_##free_function(type *v)                       \
    {                                                                                              \
        (void)free_function(*v);                                                                   \
    }

static inline __attribute__((unused)) void macros_unlock(pthread_mutex_t **m)
{
    pthread_mutex_unlock(*m);
}
static inline __attribute__((unused)) pthread_mutex_t *macros_lock(pthread_mutex_t *m)
{
    pthread_mutex_lock(m);
    return m;
}
#define MACROS_PASTE_(a, b) a##b
#define MACROS_PASTE(a, b)  MACROS_PASTE_(a, b)
/* Holds `m` until the end of the enclosing scope. */
#define LOCK_SCOPE(m)                                                                              \
    __attribute__((cleanup(macros_unlock), unused)) pthread_mutex_t *MACROS_PASTE(lock_,           \
                                                                                  __LINE__) =      \
        macros_lock(m)
