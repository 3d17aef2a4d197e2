/* tests/servers/operators_fixture.h: an installation small enough for a test of what operators do:
 * a real database, the Admin service over TLS, harpoonctl as people run it, and a scheduler that
 * writes down what it is asked. Threads: the test's own. */
#pragma once

#include "harpoon/event.h"
#include "harpoon/store/accept.h"
#include "harpoon/store/events.h"
#include "lib/macros.h"
#include "lib/sql/sql.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- life ---- */
void operators_begin(void); /* once; fails the test if it cannot */
void operators_end(void);
void operators_reset(void); /* empty tables, a scheduler without memory */
extern struct sql *db;      /* the test's own connection */

/* ---- harpoonctl ---- */
/* Runs it as an operator; its standard output and error together, which the caller frees. Fails the
 * test when it ends with anything else than `code`. */
char *ctl(int code, const char *format, ...) PRINTF(2, 3);
int ctl_code(const char *words); /* only what it ends with */
/* With --output json; the object is the caller's. */
json_t *ctl_json(int code, const char *format, ...) PRINTF(2, 3);
/* Where a value is: "events.0.state". Fails the test when there is none. */
json_t *at(json_t *object, const char *path);
const char *text_at(json_t *object, const char *path);
int64_t number_at(json_t *object, const char *path);
/* The configuration files of others: a scheduler's certificate; an address nobody listens at; one
 * where nobody answers. */
extern const char *const ctl_as_scheduler, *const ctl_to_nobody, *const ctl_to_silence;
char *ctl_with(const char *config, int code, const char *format, ...) PRINTF(3, 4);

/* ---- the database ---- */
int64_t number(const char *statement, uint64_t id); /* -1: NULL, -2: no row */
void run(const char *statement, uint64_t id);
struct created {
    uint64_t droplet, event;
};
struct created create_droplet(void); /* in nyc3, accepted */
void bring(uint64_t event, enum event_input_kind kind, uint64_t hypervisor);
void bring_attempt(uint64_t event, enum event_input_kind kind, uint64_t hypervisor,
                   unsigned attempt);
/* A create that is out of attempts. */
struct created create_failed(void);
/* A droplet that lives on `hypervisor`, and its customer's DELETE. */
struct created create_living(uint64_t hypervisor);
uint64_t delete_droplet(uint64_t droplet); /* the destroy's event, 0: none */

/* ---- the scheduler ---- */
/* "status fenced 7; release 100/2; release droplet 50; …" since the reset; borrowed. */
const char *scheduler_story(void);
void scheduler_add(const char *region, uint64_t first, uint64_t count); /* as new ones */
void scheduler_stop(void);
void scheduler_start(void);
