/* harpoon/store/addresses.h: IPv4 addresses of droplets, from `address_blocks`, a block per process
 * at a time, ascending; when those are used up, from `address_free`, where released ones wait.
 * Taking one is memory only. Never handed out twice; what a process that crashes has not used is
 * lost. Threads: any, a connection at a time. */
#pragma once

#include "lib/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sql;
struct addresses;

enum address_kind { ADDRESS_PUBLIC = 4, ADDRESS_PRIVATE = 14 }; /* stored in address_blocks.kind */

/* Every network is a /20, as the public API shows it: its first address is the gateway's; the one
 * before and the last are no host's. */
#define ADDRESS_PREFIX_LENGTH 20
#define ADDRESS_NETMASK       "255.255.240.0"
#define ADDRESS_TEXT          16
uint32_t address_gateway(uint32_t address);
bool address_is_host(uint32_t address); /* pure: not network, gateway or broadcast */
const char *address_format(uint32_t address, char ret[ADDRESS_TEXT]);

/* `block`: how many are fetched at a time. */
int addresses_new(uint32_t block, struct addresses **ret, struct error *err) MUST_CHECK;
struct addresses *addresses_free(struct addresses *a); /* NULL is fine; gives NULL */

/* Makes sure that `count` can be taken. Blocks on the database when it must; outside of any
 * transaction. ERR_NO_CAPACITY: the region has none left. ERR_NOT_FOUND: it has no block. */
int addresses_reserve(struct addresses *a, struct sql *db, const char *region,
                      enum address_kind kind, size_t count, struct error *err) MUST_CHECK;
/* Takes one that was reserved, 0: none is. */
uint32_t addresses_take(struct addresses *a, const char *region, enum address_kind kind);
/* Puts back one that was taken and went into no row. */
void addresses_put_back(struct addresses *a, const char *region, enum address_kind kind,
                        uint32_t address);
/* Returns what is reserved and not used to address_free: at a clean stop. */
int addresses_return(struct addresses *a, struct sql *db, struct error *err) MUST_CHECK;
/* Forgets what is reserved: the database was promoted. */
void addresses_drop(struct addresses *a);

/* Makes the blocks of `region` when it has none: 2^20 addresses of each kind, behind the last of
 * another region. 1: made. 0: there were some. */
int addresses_seed(struct sql *db, const char *region, struct error *err) MUST_CHECK;
