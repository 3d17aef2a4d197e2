/* hypervisor-agent/driver/ledger.h: the simulated truth on disk, one line for each change:
 *     <unix-ms> <hypervisor> <droplet-id> <attempt> <operation>
 * Several processes, each with its own hypervisors, append to one ledger. A second file beside it
 * ("<path>.events") has what its lines leave out, as a domain's metadata would: the event that made
 * a domain. Threads: any. */
#pragma once

#include "lib/error.h"
#include "lib/ids.h"

#include <stdbool.h>
#include <stdint.h>

struct ledger;

struct ledger_line {
    int64_t at_unix_ms;
    hypervisor_id hypervisor;
    droplet_id droplet;
    uint32_t attempt; /* of the domain made or removed */
    bool create;      /* the domain exists; otherwise it is gone */
};
struct ledger_reader {
    void (*line)(void *ctx, const struct ledger_line *line);
    /* After all lines: who made the domain of (hypervisor, droplet, attempt). */
    void (*maker)(void *ctx, const struct ledger_line *line, event_id event);
    void *ctx;
};

/* Opens or creates it and replays what is there. A last line cut short by a crash is taken away.
 * ERR_INTERNAL: a line before it makes no sense, do not start. */
int ledger_open(const char *path, const struct ledger_reader *reader, struct ledger **ret,
                struct error *err) MUST_CHECK;
struct ledger *ledger_close(struct ledger *l); /* NULL is fine; gives NULL */
/* In one write, all of it or nothing. `event` is kept of a create. ERR_UNAVAILABLE: the disk. */
int ledger_append(struct ledger *l, const struct ledger_line *line, event_id event,
                  struct error *err) MUST_CHECK;
