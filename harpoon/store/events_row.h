/* harpoon/store/events_row.h: rows of `events` and `droplets` to structs and back; for the files of
 * this folder. */
#pragma once

#include "harpoon/event.h"
#include "lib/error.h"
#include "lib/sql/sql.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The order is that of events_row_decode. */
#define EVENTS_ROW_COLUMNS                                                                         \
    "e.id, e.droplet_id, e.account_id, e.type, e.region, e.state, e.attempt, e.hypervisor_id,"     \
    " e.journal_id, e.reason, e.check_at, e.deadline, e.created_at, e.t_waiting, e.t_placed,"      \
    " e.t_dispatched, e.t_running, e.t_done, e.excluded"
#define EVENTS_ROW_COUNT 19
#define EVENTS_DROPLET_COLUMNS                                                                     \
    "d.status, d.event_id, d.hypervisor_id, d.deleted_at, d.gone_at, d.ipv4, d.private_ipv4"
#define EVENTS_DROPLET_COUNT 7
/* The database's time, in unix milliseconds. */
#define EVENTS_NOW "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)"

/* What the store keeps of a droplet beside what decisions need. */
struct droplet_columns {
    int64_t deleted_at_ms, gone_at_ms; /* 0: NULL */
    uint32_t ipv4, private_ipv4;       /* 0: NULL */
};

/* EVENTS_ROW_COLUMNS from column `first` on. */
void events_row_decode(const struct sql_row *row, size_t first, struct event *ret);
/* EVENTS_DROPLET_COLUMNS from column `first` on; the droplet's part of *event too. */
void events_droplet_decode(const struct sql_row *row, size_t first, struct event *event,
                           struct droplet_columns *ret);

/* A row that moves: as it was read and locked, and as it is to be. */
struct events_write {
    struct event before, after;
    struct droplet_columns columns; /* as they are to be */
    bool changed, droplet_changed;
    bool freed; /* its addresses return */
    uint32_t freed_ipv4, freed_private_ipv4;
};
/* The compare-and-set of all `changed` events, then of all `droplet_changed` droplets, then the
 * addresses that return. ERR_INTERNAL: a row that is locked was not hit. */
int events_write_rows(struct sql *db, const struct events_write *writes, size_t count,
                      struct error *err) MUST_CHECK;

/* Destroys and cleanups to insert: pending rows, made by events_follow_up_make. */
int events_insert_rows(struct sql *db, const struct uuid *installation, const struct event *rows,
                       size_t count, struct error *err) MUST_CHECK;
/* The pending row of a follow-up of `parent`, pinned to `hypervisor`. */
void events_follow_up_make(const struct event *parent, event_id id, enum event_type type,
                           hypervisor_id hypervisor, int64_t now_ms, struct event *ret);

/* A line of the timeline. */
struct events_log {
    event_id event;
    unsigned attempt;
    hypervisor_id hypervisor;
    int64_t at_ms;
    char what[64], actor[64], detail[256];
};
/* Texts are cut to what the columns hold, and to printable ASCII: they may come from outside. */
void events_log_fill(struct events_log *ret, const struct event *row, int64_t at_ms,
                     const char *what, const char *actor, const char *detail);
int events_log_rows(struct sql *db, const struct events_log *logs, size_t count,
                    struct error *err) MUST_CHECK;
