/* harpoon/worker/facts.h: what the worker knows of the database without asking: the installation
 * and the fences, as of a second ago. Threads: any; never blocks. */
#pragma once

#include "harpoon/store/events.h"
#include "lib/uuid.h"

#include <stdbool.h>

struct facts;

int facts_new(struct facts **ret, struct error *err) MUST_CHECK;
struct facts *facts_free(struct facts *f); /* NULL is fine; gives NULL */

/* False: not known yet, `ret` is untouched. Once known it does not change. */
bool facts_installation(struct facts *f, struct uuid *ret);
void facts_set_installation(struct facts *f, const struct uuid *installation);
/* Takes over what is in `set`. */
void facts_set_fences(struct facts *f, struct fence_set *set);
bool facts_is_fenced(struct facts *f, hypervisor_id hypervisor);
