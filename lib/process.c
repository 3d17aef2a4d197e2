#include "lib/process.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static double read_resident_bytes(void)
{
    unsigned long long total, resident = 0;
    FILE *in = fopen("/proc/self/statm", "re");

    if (in == NULL)
        return 0;
    if (fscanf(in, "%llu %llu", &total, &resident) != 2)
        resident = 0;
    fclose(in);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static double count_open_fds(void)
{
    DIR *folder = opendir("/proc/self/fd");
    int n = 0;

    if (folder == NULL)
        return 0;
    for (struct dirent *e = readdir(folder); e != NULL; e = readdir(folder))
        n += e->d_name[0] != '.';
    closedir(folder);
    return n - 1; /* the folder's own */
}

void process_usage_get(struct process_usage *ret)
{
    struct rusage usage = {0};
    struct rlimit limit = {0};

    (void)getrusage(RUSAGE_SELF, &usage);
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    *ret = (struct process_usage){
        .cpu_s = seconds(usage.ru_utime) + seconds(usage.ru_stime),
        .resident_bytes = read_resident_bytes(),
        .open_fds = count_open_fds(),
        .max_fds = (double)limit.rlim_cur,
    };
}
