/* tests/unit/scheduler/support.h: fleets and claims said in few words. */
#pragma once

#include "scheduler/rank/decide.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* xorshift: the same numbers on every machine. */
struct dice {
    uint64_t state;
};
uint64_t dice_roll(struct dice *d);
/* 0 … below-1. */
uint32_t dice_below(struct dice *d, uint32_t below);

#define SIZE(v, m, d) ((struct resources){(v), (m), (d)})

/* Adds an approved, connected, compared hypervisor; gives its row. */
size_t fleet_with(struct fleet *f, uint64_t id, struct resources capacity);
/* Asks for (event, attempt) of droplet event + 1,000,000; notes nothing. */
struct placement place(struct fleet *f, uint64_t event, uint32_t attempt, struct resources size);
struct claim claim_of(uint64_t event, uint32_t attempt, uint64_t droplet, uint64_t hypervisor);
