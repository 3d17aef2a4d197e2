/* scheduler/requests.h: what may be asked. Pure. */
#pragma once

#include "lib/error.h"
#include "proto/scheduler.pb-c.h"

#define ITEMS_MAX    1000  /* of Place and Release */
#define EXCLUDED_MAX 256   /* hypervisors of one item */
#define OBSERVED_MAX 50000 /* hypervisors of one Observe */
#define ATTEMPT_MAX  65535

/* 0, or ERR_INVALID: *err names the field. */
int place_request_check(const Harpoon__Scheduler__V1__PlaceRequest *q,
                        struct error *err) MUST_CHECK;
int release_request_check(const Harpoon__Scheduler__V1__ReleaseRequest *q,
                          struct error *err) MUST_CHECK;
int observe_request_check(const Harpoon__Scheduler__V1__ObserveRequest *q,
                          struct error *err) MUST_CHECK;
int set_status_request_check(const Harpoon__Scheduler__V1__SetStatusRequest *q,
                             struct error *err) MUST_CHECK;
