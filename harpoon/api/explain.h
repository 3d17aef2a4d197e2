/* harpoon/api/explain.h: why a droplet waits, in one sentence an operator can act on: the stage,
 * since when, for what, who must act, which command helps. Pure. */
#pragma once

#include "harpoon/event.h"
#include "harpoon/store/admin.h"

#include <stdbool.h>
#include <stdint.h>

struct explain_input {
    const struct admin_droplet *droplet;
    const struct admin_event *event; /* its unfinished one; NULL: none */
    const struct admin_event *last;  /* its newest; NULL: none is left */
    bool fenced;                     /* the hypervisor that matters is */
    int64_t fenced_ms;
    int64_t now_ms;
};

struct explanation {
    char sentence[600];
    /* nobody, scheduler, capacity, router, agent, hypervisor, operator */
    const char *waiting_for;
    int64_t since_ms, next_check_ms, deadline_ms; /* 0: none */
    char command[200];                            /* that helps; "": none */
};

/* The hypervisor whose fence matters to it, 0: none. */
hypervisor_id explain_hypervisor(const struct admin_droplet *droplet,
                                 const struct admin_event *event);
void explain_droplet(const struct explain_input *in, struct explanation *ret);
