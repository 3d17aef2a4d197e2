/* harpoonctl/command.h: the nouns of the command line, one row each in main.c. */
#pragma once

/* What the program ends with. */
enum {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,      /* it was tried, and failed; stderr says why */
    EXIT_USAGE = 2,       /* the command line was not understood; nothing was done */
    EXIT_NOT_FOUND = 3,   /* no such thing */
    EXIT_UNREACHABLE = 4, /* the other side did not answer */
};

struct error;

struct command {
    const char *name;
    const char *summary; /* a sentence for --help */
    /* argv[0] is the noun itself. Gives the exit code. */
    int (*run)(int argc, char **argv);
};

/* The exit code for err->code; prints "harpoonctl: message" on stderr. */
int command_fail(const struct error *err);

int pki_command(int argc, char **argv);
