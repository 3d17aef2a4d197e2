/* harpoonctl/command.h: the words of the command line: nouns, each with its verbs, a row each. What
 * is in the rows is also what --help says. */
#pragma once

#include "harpoonctl/session.h"
#include "lib/config.h"
#include "lib/error.h"

#include <stddef.h>

/* What the program ends with. */
enum {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,      /* it was tried, and failed; stderr says why */
    EXIT_USAGE = 2,       /* the command line was not understood; nothing was done */
    EXIT_NOT_FOUND = 3,   /* no such thing */
    EXIT_CONFLICT = 4,    /* it is not in a state that allows this */
    EXIT_FORBIDDEN = 5,   /* this certificate may not */
    EXIT_UNREACHABLE = 7, /* no Harpoon answered, or it is busy: try again later */
    EXIT_TIMEOUT = 124,   /* no answer in time: it may have been done */
};

struct verb {
    const char *name;      /* "list" */
    const char *arguments; /* "ID…"; "" for none */
    const char *summary;   /* one line for the noun's help */
    const char *epilog;    /* what --help ends with: how to read it, examples */
    const struct option_def *options;
    size_t option_count;
    size_t min_words, max_words; /* of arguments */
    /* Gives an exit code, or a negative code with *err set. */
    int (*run)(struct session *s, const char *const *words, size_t count, struct error *err);
};

struct noun {
    const char *name;
    const char *summary;      /* one line for the program's help */
    const char *about;        /* what its help begins with */
    const struct verb *verbs; /* the first is meant when none is given and it takes no arguments */
    size_t verb_count;
    /* Instead of verbs: all of it. argv[0] is the noun itself. Gives the exit code. */
    int (*run)(int argc, char **argv);
};

extern const struct noun events_noun, queues_noun, dead_noun, hypervisors_noun, droplet_noun,
    pki_noun, account_noun, token_noun;

/* Runs `argv` (argv[0] is the noun); gives the exit code. */
int command_run(const struct noun *noun, int argc, char **argv);
/* The exit code for err->code; prints "harpoonctl: message" on stderr. */
int command_fail(const struct error *err);
/* An id of ours: 1 … 2^53-1. ERR_INVALID names `what`. */
int command_parse_id(const char *word, const char *what, uint64_t *ret,
                     struct error *err) MUST_CHECK;
/* `count` of them, in an array that the caller frees. */
int command_parse_ids(const char *const *words, size_t count, const char *what, uint64_t **ret,
                      struct error *err) MUST_CHECK;
