/* lib/config.h: a program's options as one table: command line, `--config FILE` (ini, no sections
 * needed), --help. Each row says where its value goes. The command line wins over the file, the
 * file over the default. */
#pragma once

#include "lib/error.h"

#include <stddef.h>
#include <stdint.h>

enum option_type {
    OPTION_STRING, /* char *, owned by the struct (config_free) */
    OPTION_INT,    /* int64_t, within min..max */
    OPTION_BOOL,   /* bool: yes/no/true/false/1/0; on the command line --name alone is yes */
};

struct option_def {
    const char *name; /* "mysql-socket" */
    enum option_type type;
    size_t offset;             /* of the field in the struct */
    const char *default_value; /* text; NULL: NULL, 0 or false */
    int64_t min, max;          /* OPTION_INT */
    const char *choices;       /* OPTION_STRING: "debug|info|warn|error"; NULL: any */
    bool required;
    const char *metavar; /* "PATH" */
    const char *help;    /* one sentence */
};

struct config_program {
    const char *name;    /* "scheduler" */
    const char *summary; /* what --help says first */
    const char *usage;   /* "[options]" or "migrate|serve [options]" */
    const struct option_def *options;
    size_t option_count;
    const char *epilog; /* what --help ends with, as it is, e.g. examples; NULL: nothing */
};

/* Fills *into. --help and --version print and exit 0. Words that are no options are left in `words`
 * (at most *word_count in, count out; pointers into argv); NULL refuses them.
 * ERR_INVALID: names the option, the file and line, and what is expected. */
int config_load(const struct config_program *program, int argc, char **argv, void *into,
                const char **words, size_t *word_count, struct error *err) MUST_CHECK;
/* Frees the strings of `into`. */
void config_free(const struct config_program *program, void *into);
/* The options as a Markdown table, which the caller frees. */
char *config_format_markdown(const struct config_program *program);
