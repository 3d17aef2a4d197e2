/* lib/rendezvous.h: rendezvous (highest random weight) hashing: who of these owns the key. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* The index of the owner, and in *ret_second that of the next in line (the same when there is only
 * one). `count` is at least 1. The same on every machine; a node that leaves moves only its own
 * keys. */
size_t rendezvous_find(uint64_t key, const char *const *nodes, size_t count, size_t *ret_second);
