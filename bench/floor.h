/* bench/floor.h: what a create cannot avoid, and nothing else: its rows, its message, its journal
 * entries. Each part runs by itself or beside the others; none knows the daemons. All functions
 * exit with a message when a server refuses. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct floor_options {
    const char *mysql_socket, *mysql_user, *mysql_database;
    char *mysql_password;
    int amqp_port;
    const char *amqp_user;
    char *amqp_password;
    const char *journal; /* a new file */
    size_t count, batch, threads, params_bytes, body_bytes;
    size_t journal_commits;
};

/* The time of one step, done alone: `count` of them, in µs. */
struct floor_times {
    int64_t *us;
    size_t count;
};

void floor_die(const char *what, const char *why) __attribute__((noreturn));
void floor_times_add(struct floor_times *t, int64_t us); /* room for `count` of the options */

/* ---- rows: accept, claims, dispatched, final; a transaction each for every batch ---- */
enum { FLOOR_ACCEPT, FLOOR_CLAIM, FLOOR_DISPATCHED, FLOOR_FINAL, FLOOR_STEPS };
/* Creates number first … first + count - 1. `times` has FLOOR_STEPS elements, or is NULL. Blocks.
 */
void floor_rows_run(const struct floor_options *o, size_t first, size_t count,
                    struct floor_times *times);

/* ---- messages: published with confirms, consumed, acknowledged ---- */
struct floor_broker;
struct floor_broker *floor_broker_open(const struct floor_options *o);
/* Sends all of the options' count and waits until each is confirmed and has been delivered. */
void floor_broker_run(struct floor_broker *b);
/* One message: µs from publishing it until it is delivered. */
int64_t floor_broker_one(struct floor_broker *b);
struct floor_broker *floor_broker_close(struct floor_broker *b);

/* ---- the agent's journal: a row each, written when accepted, begun, ended ---- */
struct floor_journal;
struct floor_journal *floor_journal_open(const struct floor_options *o);
/* All creates in the options' number of commits. Returns the CPU of it in µs. */
int64_t floor_journal_run(struct floor_journal *j);
/* One commit of one accepted job: µs. */
int64_t floor_journal_one(struct floor_journal *j, uint64_t event);
struct floor_journal *floor_journal_close(struct floor_journal *j);
