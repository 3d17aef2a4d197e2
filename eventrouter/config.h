/* eventrouter/config.h: the router's options, one table in config.c. */
#pragma once

#include "lib/error.h"
#include "lib/rpc/rpc.h"

#include <stddef.h>
#include <stdint.h>

#define ROUTERS_MAX 64 /* of a region */

struct eventrouter_config {
    char *region, *name, *listen, *advertise, *peers, *harpoon, *schedulers;
    char *tls_ca, *tls_certificate, *tls_key;
    char *log_level, *admin_listen;
    int64_t sample_interval_ms, max_agents, agent_queue, rpc_threads, drain_ms;
};

/* A list split at its commas. */
struct address_list {
    char **items;
    size_t count;
};

/* As config_load(); checks what options say together. End with eventrouter_config_free(). */
int eventrouter_config_load(int argc, char **argv, struct eventrouter_config *ret,
                            struct error *err) MUST_CHECK;
void eventrouter_config_free(struct eventrouter_config *c);
struct rpc_tls eventrouter_config_tls(const struct eventrouter_config *c);

/* Spaces and empty items are dropped. The caller ends it with address_list_fini(). */
void address_list_init(struct address_list *l, const char *text);
void address_list_fini(struct address_list *l);
/* -1: not in it. */
int address_list_find(const struct address_list *l, const char *address);
