/* lib/ids.h: numbers that must not be mistaken for one another: swapped arguments do not compile.
 */
#pragma once

#include <stdint.h>

typedef struct {
    uint64_t v;
} droplet_id;
typedef struct {
    uint64_t v;
} event_id;
typedef struct {
    uint64_t v;
} account_id;
typedef struct {
    uint64_t v;
} hypervisor_id;
