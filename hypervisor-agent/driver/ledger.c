#include "hypervisor-agent/driver/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 160, PATH_BYTES = 4096 };

struct ledger {
    int fd, events_fd;
    pthread_mutex_t lock; /* one append at a time: locks on the file are between processes */
};

static int io_error(const char *what, struct error *err)
{
    return error_set(err, ERR_UNAVAILABLE, "%s the ledger: %s", what, strerror(errno));
}

/* ---- replaying ---- */

/* Takes away what stands behind the last line end. The file is locked. */
static int cut_torn_line(int fd, struct error *err)
{
    char tail[LINE_MAX_BYTES];
    off_t size = lseek(fd, 0, SEEK_END);
    if (size <= 0)
        return size < 0 ? io_error("reading", err) : 0;
    off_t from = size > LINE_MAX_BYTES ? size - LINE_MAX_BYTES : 0;
    ssize_t n = pread(fd, tail, (size_t)(size - from), from);

    if (n != (ssize_t)(size - from))
        return io_error("reading", err);
    while (n > 0 && tail[n - 1] != '\n')
        n--;
    if (n == 0 && from > 0)
        return error_set(err, ERR_INTERNAL, "the ledger ends in a line too long to be one");
    if (from + n < size && ftruncate(fd, from + n) != 0)
        return io_error("mending", err);
    return 0;
}

static bool parse_line(const char *text, struct ledger_line *ret)
{
    char operation[16];
    int used = 0;
    int n = sscanf(text, "%" SCNd64 " %" SCNu64 " %" SCNu64 " %" SCNu32 " %15s%n", &ret->at_unix_ms,
                   &ret->hypervisor.v, &ret->droplet.v, &ret->attempt, operation, &used);

    ret->create = n == 5 && strcmp(operation, "create") == 0;
    return n == 5 && text[used] == '\n' && (ret->create || strcmp(operation, "destroy") == 0);
}

static bool parse_maker(const char *text, struct ledger_line *ret, event_id *ret_event)
{
    int used = 0;
    int n = sscanf(text, "%" SCNu64 " %" SCNu64 " %" SCNu32 " %" SCNu64 "%n", &ret->hypervisor.v,
                   &ret->droplet.v, &ret->attempt, &ret_event->v, &used);

    return n == 4 && text[used] == '\n';
}

static int replay_lines(FILE *in, const struct ledger_reader *reader, bool makers,
                        struct error *err)
{
    char text[LINE_MAX_BYTES];

    for (uint64_t number = 1; fgets(text, sizeof text, in) != NULL; number++) {
        struct ledger_line line = {0};
        event_id event = {0};
        if (!(makers ? parse_maker(text, &line, &event) : parse_line(text, &line)))
            return error_set(err, ERR_INTERNAL, "line %" PRIu64 " of the ledger%s makes no sense",
                             number, makers ? "'s events" : "");
        if (makers)
            reader->maker(reader->ctx, &line, event);
        else
            reader->line(reader->ctx, &line);
    }
    return ferror(in) ? io_error("reading", err) : 0;
}

static int replay(int fd, const struct ledger_reader *reader, bool makers, struct error *err)
{
    int copy = dup(fd);
    FILE *in = copy >= 0 ? fdopen(copy, "r") : NULL;

    if (in == NULL) {
        if (copy >= 0)
            close(copy);
        return io_error("reading", err);
    }
    rewind(in);
    int r = replay_lines(in, reader, makers, err);
    fclose(in);
    return r;
}

/* ---- the files ---- */

static int open_one(const char *path, int *ret, struct error *err)
{
    *ret = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (*ret < 0)
        return error_set(err, ERR_UNAVAILABLE, "%s: %s", path, strerror(errno));
    return 0;
}

static int open_both(struct ledger *l, const char *path, const struct ledger_reader *reader,
                     struct error *err)
{
    char events[PATH_BYTES];

    if (snprintf(events, sizeof events, "%s.events", path) >= (int)sizeof events)
        return error_set(err, ERR_INVALID, "the ledger's path is too long");
    int r = open_one(path, &l->fd, err);
    if (r == 0)
        r = open_one(events, &l->events_fd, err);
    if (r < 0)
        return r;
    if (flock(l->fd, LOCK_EX) != 0)
        return io_error("locking", err);
    r = cut_torn_line(l->fd, err);
    if (r == 0)
        r = cut_torn_line(l->events_fd, err);
    if (r == 0)
        r = replay(l->fd, reader, false, err);
    if (r == 0)
        r = replay(l->events_fd, reader, true, err);
    flock(l->fd, LOCK_UN);
    return r;
}

int ledger_open(const char *path, const struct ledger_reader *reader, struct ledger **ret,
                struct error *err)
{
    struct ledger *l = calloc(1, sizeof *l);

    if (l == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    l->fd = l->events_fd = -1;
    pthread_mutex_init(&l->lock, NULL);
    int r = open_both(l, path, reader, err);
    if (r < 0) {
        ledger_close(l);
        return r;
    }
    *ret = l;
    return 0;
}

struct ledger *ledger_close(struct ledger *l)
{
    if (l == NULL)
        return NULL;
    if (l->fd >= 0)
        close(l->fd);
    if (l->events_fd >= 0)
        close(l->events_fd);
    pthread_mutex_destroy(&l->lock);
    free(l);
    return NULL;
}

/* A line that could be written only in part is taken away again. The ledger is locked. */
static int append_text(int fd, const char *text, size_t length, struct error *err)
{
    off_t before = lseek(fd, 0, SEEK_END);
    ssize_t n = write(fd, text, length);

    if (n == (ssize_t)length)
        return 0;
    if (n >= 0)
        errno = ENOSPC;
    int r = io_error("writing", err);
    if (n > 0 && ftruncate(fd, before) != 0)
        return error_set(err, ERR_UNAVAILABLE, "the ledger has half a line and cannot be mended");
    return r;
}

int ledger_append(struct ledger *l, const struct ledger_line *line, event_id event,
                  struct error *err)
{
    char text[LINE_MAX_BYTES], maker[LINE_MAX_BYTES];
    int length = snprintf(text, sizeof text, "%" PRId64 " %" PRIu64 " %" PRIu64 " %u %s\n",
                          line->at_unix_ms, line->hypervisor.v, line->droplet.v, line->attempt,
                          line->create ? "create" : "destroy");
    int maker_length = snprintf(maker, sizeof maker, "%" PRIu64 " %" PRIu64 " %u %" PRIu64 "\n",
                                line->hypervisor.v, line->droplet.v, line->attempt, event.v);
    int r = 0;

    LOCK_SCOPE(&l->lock);
    if (flock(l->fd, LOCK_EX) != 0)
        return io_error("locking", err);
    if (line->create) /* first: a maker without a domain says nothing */
        r = append_text(l->events_fd, maker, (size_t)maker_length, err);
    if (r == 0)
        r = append_text(l->fd, text, (size_t)length, err);
    flock(l->fd, LOCK_UN);
    return r;
}
