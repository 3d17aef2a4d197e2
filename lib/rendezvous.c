#include "lib/rendezvous.h"

#include <assert.h>
#include <string.h>

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

static uint64_t weight(uint64_t key, const char *node)
{
    uint64_t h = 0xCBF29CE484222325ull; /* FNV-1a */

    for (const unsigned char *p = (const unsigned char *)node; *p != 0; p++)
        h = (h ^ *p) * 0x100000001B3ull;
    return mix(mix(key + 0x9E3779B97F4A7C15ull) ^ h);
}

/* Names decide a tie, so that the order of the list never matters. */
static int wins(uint64_t w, const char *node, uint64_t best, const char *best_node)
{
    return w > best || (w == best && strcmp(node, best_node) < 0);
}

size_t rendezvous_find(uint64_t key, const char *const *nodes, size_t count, size_t *ret_second)
{
    assert(count > 0);
    size_t first = 0, second = 0;
    uint64_t first_weight = weight(key, nodes[0]), second_weight = 0;

    for (size_t i = 1; i < count; i++) {
        uint64_t w = weight(key, nodes[i]);
        if (wins(w, nodes[i], first_weight, nodes[first])) {
            second = first;
            second_weight = first_weight;
            first = i;
            first_weight = w;
        } else if (second == first || wins(w, nodes[i], second_weight, nodes[second])) {
            second = i;
            second_weight = w;
        }
    }
    if (ret_second != NULL)
        *ret_second = second;
    return first;
}
