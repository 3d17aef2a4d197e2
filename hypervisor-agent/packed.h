/* hypervisor-agent/packed.h: jobs as they come over the wire and lie in the journal. Pure. */
#pragma once

#include "hypervisor-agent/jobs.h"
#include "lib/error.h"
#include "lib/ids.h"
#include "proto/job.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PACKED_MAX_JOB ((size_t)1 << 20) /* bytes */

/* Has it all that an agent needs? */
bool packed_is_valid(const Harpoon__Job__V1__Job *job);
/* Of a valid job. */
enum job_kind packed_kind(const Harpoon__Job__V1__Job *job);
/* The caller frees it. Aborts without memory, as protobuf-c's users have to. */
uint8_t *packed_job(const Harpoon__Job__V1__Job *job, size_t *ret_size);
/* NULL: these bytes are no job. Free with harpoon__job__v1__job__free_unpacked(.., NULL). */
Harpoon__Job__V1__Job *packed_open(const uint8_t *bytes, size_t size);
/* The same job without its spec; false: it has none. The caller frees *ret. */
bool packed_strip(const uint8_t *bytes, size_t size, uint8_t **ret, size_t *ret_size);
/* A job that makes `droplet` absent, for a domain no entry speaks of. `installation` is its text.
 * Free as packed_open's. NULL: `installation` is none. */
Harpoon__Job__V1__Job *packed_removal(const char *installation, droplet_id droplet, event_id event,
                                      uint32_t attempt);
