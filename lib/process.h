/* lib/process.h: what the kernel says this process uses. Threads: any. */
#pragma once

struct process_usage {
    double cpu_s; /* user and system */
    double resident_bytes;
    double open_fds, max_fds;
};

/* What cannot be read is 0. */
void process_usage_get(struct process_usage *ret);
