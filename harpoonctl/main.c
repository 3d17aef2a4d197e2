/* harpoonctl/main.c: the operator's command: finds the noun and hands over. */
#include "harpoonctl/command.h"
#include "lib/macros.h"

#include <stdio.h>
#include <string.h>

static const struct command commands[] = {
    {"pki", "make, issue and show the certificates of a private authority", pki_command},
};

static void print_help(FILE *to)
{
    fprintf(to, "harpoonctl " HARPOON_VERSION ": looks after Harpoon.\n\n"
                "Usage: harpoonctl NOUN [VERB] [options]\n\nNouns:\n");
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        fprintf(to, "  %-12s  %s\n", commands[i].name, commands[i].summary);
    fprintf(to, "\n`harpoonctl NOUN --help` says what can be done with each.\n"
                "Exit codes: 0 done, 1 failed, 2 not understood, 3 not found, 4 no answer.\n");
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return EXIT_DONE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("harpoonctl " HARPOON_VERSION);
        return EXIT_DONE;
    }
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "harpoonctl: no noun is named '%s'; `harpoonctl --help` lists them\n", argv[1]);
    return EXIT_USAGE;
}
