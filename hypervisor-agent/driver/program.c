#include "hypervisor-agent/driver/program.h"

#include "lib/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_ARGUMENTS = 40, COMPLAINT_BYTES = 200 };

/* A program under way: its process and the ends of its pipes that are ours. */
struct child {
    pid_t pid;
    int pidfd, out, err;
    char *output;
    size_t output_len, output_max;
    char complaint[COMPLAINT_BYTES + 1]; /* the last that it wrote on standard error */
    size_t complaint_len;
};

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* prlimit(1) sets its own limits and becomes the program: no moment without them. */
static int wrap(const char *const argv[], const struct program_limits *limits,
                char limit_args[2][40], const char *ret[MAX_ARGUMENTS], struct error *err)
{
    size_t n = 0, i = 0;

    snprintf(limit_args[0], 40, "--cpu=%d", limits->cpu_s);
    ret[n++] = "prlimit";
    ret[n++] = "--core=0";
    ret[n++] = limit_args[0];
    if (limits->memory_bytes > 0) {
        snprintf(limit_args[1], 40, "--as=%" PRIu64, limits->memory_bytes);
        ret[n++] = limit_args[1];
    }
    ret[n++] = "--";
    while (argv[i] != NULL && n < MAX_ARGUMENTS - 1)
        ret[n++] = argv[i++];
    if (argv[i] != NULL)
        return error_set(err, ERR_INTERNAL, "%s: too many arguments", argv[0]);
    ret[n] = NULL;
    return 0;
}

static int spawn_with_pipes(const char *const argv[], int out, int errors, pid_t *ret_pid)
{
    char *const environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "TZ=UTC", NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none, all;

    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&files, errors, STDERR_FILENO);
    posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
    int r = posix_spawnp(ret_pid, argv[0], &files, &attributes, (char *const *)(uintptr_t)argv,
                         environment);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    return r;
}

static int start(struct child *c, const char *const argv[], struct error *err)
{
    int out[2] = {-1, -1}, errors[2] = {-1, -1};
    int r = 0;

    if (pipe2(out, O_CLOEXEC) < 0 || pipe2(errors, O_CLOEXEC) < 0)
        r = errno;
    if (r == 0)
        r = spawn_with_pipes(argv, out[1], errors[1], &c->pid);
    close_fd(&out[1]);
    close_fd(&errors[1]);
    if (r == 0 && (c->pidfd = pidfd_open(c->pid, 0)) < 0) {
        r = errno;
        kill(c->pid, SIGKILL);
        waitpid(c->pid, NULL, 0);
    }
    if (r != 0) {
        close_fd(&out[0]);
        close_fd(&errors[0]);
        return error_set(err, ERR_UNAVAILABLE, "cannot start %s: %s", argv[0], strerror(r));
    }
    c->out = out[0];
    c->err = errors[0];
    return 0;
}

/* Keeps the tail of what comes on standard error. */
static void read_complaint(struct child *c)
{
    char buffer[COMPLAINT_BYTES];
    ssize_t got = read(c->err, buffer, sizeof(buffer));

    if (got <= 0) {
        if (got == 0 || errno != EINTR)
            close_fd(&c->err);
        return;
    }
    size_t n = (size_t)got, keep = COMPLAINT_BYTES - n;
    if (c->complaint_len > keep) {
        memmove(c->complaint, c->complaint + c->complaint_len - keep, keep);
        c->complaint_len = keep;
    }
    memcpy(c->complaint + c->complaint_len, buffer, n);
    c->complaint_len += n;
}

static int read_output(struct child *c, struct error *err)
{
    char buffer[4096];
    ssize_t got = read(c->out, buffer, sizeof(buffer));

    if (got <= 0) {
        if (got == 0 || errno != EINTR)
            close_fd(&c->out);
        return 0;
    }
    if (c->output_len + (size_t)got > c->output_max)
        return error_set(err, ERR_TOO_LARGE, "it wrote more than %zu bytes", c->output_max);
    memcpy(c->output + c->output_len, buffer, (size_t)got);
    c->output_len += (size_t)got;
    return 0;
}

/* Reads both pipes until both are closed and the process has ended. */
static int follow(struct child *c, int timeout_ms, struct error *err)
{
    int64_t until_ms = mono_ms() + timeout_ms;
    bool ended = false;

    while (!ended || c->out >= 0 || c->err >= 0) {
        struct pollfd fds[3] = {{c->out, POLLIN, 0},
                                {c->err, POLLIN, 0},
                                {ended ? -1 : c->pidfd, POLLIN, 0}};
        int64_t left_ms = until_ms - mono_ms();
        int n = left_ms > 0 ? poll(fds, ARRAY_LEN(fds), (int)left_ms) : 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return error_set(err, ERR_DEADLINE, "it did not end within %d ms", timeout_ms);
        if (fds[1].revents != 0)
            read_complaint(c);
        if (fds[0].revents != 0) {
            int r = read_output(c, err);
            if (r < 0)
                return r;
        }
        ended = ended || fds[2].revents != 0;
    }
    return 0;
}

static int judge(struct child *c, int status, struct error *err)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    c->complaint[c->complaint_len] = 0;
    for (size_t i = 0; i < c->complaint_len; i++)
        if ((unsigned char)c->complaint[i] < ' ' || (unsigned char)c->complaint[i] > '~')
            c->complaint[i] = ' ';
    while (c->complaint_len > 0 && c->complaint[c->complaint_len - 1] == ' ')
        c->complaint[--c->complaint_len] = 0;
    if (WIFSIGNALED(status))
        return error_set(err, ERR_INVALID, "signal %d: %s", WTERMSIG(status), c->complaint);
    if (WEXITSTATUS(status) == 127)
        return error_set(err, ERR_UNAVAILABLE, "not installed: %s", c->complaint);
    return error_set(err, ERR_INVALID, "exit status %d: %s", WEXITSTATUS(status), c->complaint);
}

static int run_child(const char *const argv[], const struct program_limits *limits, struct child *c,
                     struct error *err)
{
    int status = 0;
    int r = start(c, argv, err);

    if (r < 0)
        return r;
    r = follow(c, limits->timeout_ms, err);
    if (r < 0)
        kill(c->pid, SIGKILL);
    while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
        ;
    close_fd(&c->pidfd);
    close_fd(&c->out);
    close_fd(&c->err);
    return r < 0 ? r : judge(c, status, err);
}

int program_run(const char *const argv[], const struct program_limits *limits, char **output,
                struct error *err)
{
    struct child c = {.pidfd = -1, .out = -1, .err = -1, .output_max = limits->output_bytes};
    const char *wrapped[MAX_ARGUMENTS];
    char limit_args[2][40];

    int r = wrap(argv, limits, limit_args, wrapped, err);
    if (r < 0)
        return r;
    c.output = malloc(c.output_max + 1);
    if (c.output == NULL)
        return error_set(err, ERR_UNAVAILABLE, "out of memory");
    r = run_child(wrapped, limits, &c, err);
    if (r < 0)
        (void)error_in(err, "%s", argv[0]);
    c.output[c.output_len] = 0;
    if (r == 0 && output != NULL)
        *output = c.output;
    else
        free(c.output);
    return r;
}
