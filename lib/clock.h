/* lib/clock.h: the only place that reads time. mono for durations inside a process, unix for what
 * is stored or sent. */
#pragma once

#include <stdint.h>

int64_t mono_ms(void);
int64_t mono_us(void); /* for what is measured; deadlines are in ms */
int64_t unix_ms(void);
/* RFC 3339 in UTC with seconds, "2020-07-21T18:37:44Z"; `ret` holds 21 bytes or more. */
void clock_format_rfc3339(int64_t at_unix_ms, char ret[21]);
/* Blocks for `ms` (never on a loop thread). */
void clock_pause_ms(int ms);
