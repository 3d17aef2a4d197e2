/* hypervisor-agent/driver/program.h: runs a program to its end, without a shell, within limits.
 * Threads: any. Blocks: until the program has ended, so never on a loop thread. */
#pragma once

#include "lib/error.h"

#include <stddef.h>
#include <stdint.h>

struct program_limits {
    int timeout_ms;        /* of the clock on the wall; then it is killed */
    int cpu_s;             /* of its own CPU time */
    uint64_t memory_bytes; /* of address space; 0: no limit */
    size_t output_bytes;   /* more than this on standard output is an error */
};

/* Runs argv[0] (found in PATH; argv ends with NULL) with an empty standard input and a small fixed
 * environment. When `output` is not NULL and the program succeeded, *output is what it wrote,
 * NUL-terminated, which the caller frees. `limits` may not be NULL.
 * ERR_UNAVAILABLE: it could not be started. ERR_DEADLINE: the time was up. ERR_TOO_LARGE: it wrote
 * too much. ERR_INVALID: it ended with a failure; *err holds the last of its complaints. */
int program_run(const char *const argv[], const struct program_limits *limits, char **output,
                struct error *err) MUST_CHECK;
