/* harpoonctl/main.c: the operator's command: finds the noun and hands over. */
#include "harpoonctl/command.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static const struct noun *const nouns[] = {
    &events_noun,  &queues_noun,  &dead_noun,  &hypervisors_noun,
    &droplet_noun, &account_noun, &token_noun, &pki_noun,
};

static void print_help(FILE *to)
{
    fputs("harpoonctl " HARPOON_VERSION ": looks after Harpoon.\n\n"
          "Usage: harpoonctl NOUN VERB [options]\n\nNouns:\n",
          to);
    for (size_t i = 0; i < ARRAY_LEN(nouns); i++)
        fprintf(to, "  %-12s  %s\n", nouns[i]->name, nouns[i]->summary);
    fputs("\n`harpoonctl NOUN --help` says what can be done with each.\n\n"
          "Examples:\n"
          "  harpoonctl droplet explain 1234        why it waits, and what helps\n"
          "  harpoonctl events list --region nyc3   what is unfinished there\n"
          "  harpoonctl queues                      how much waits, and for how long\n\n"
          "Where Harpoon is, and who you are, comes from --api and --tls-…, or from the file that\n"
          "HARPOON_CTL_CONFIG names:\n"
          "  api = 127.0.0.1:9001\n"
          "  tls-ca = /etc/harpoon/pki/ca.pem\n"
          "  tls-certificate = /etc/harpoon/pki/operator.pem\n"
          "  tls-key = /etc/harpoon/pki/operator.key\n\n"
          "Exit codes: 0 done, 1 failed, 2 not understood, 3 not found, 4 not in a state that "
          "allows\n"
          "it, 5 not allowed, 7 unavailable, 124 no answer in time.\n",
          to);
}

static int refuse_noun(const char *word)
{
    fprintf(stderr, "harpoonctl: no noun is named '%s'; there are", word);
    for (size_t i = 0; i < ARRAY_LEN(nouns); i++)
        fprintf(stderr, "%s %s", i == 0 ? "" : ",", nouns[i]->name);
    fputs("; `harpoonctl --help` says more\n", stderr);
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    (void)signal(SIGPIPE, SIG_IGN); /* `| head` is a failed write, which is told */
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        (strcmp(argv[1], "help") == 0 && argc == 2)) {
        print_help(stdout);
        return EXIT_DONE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("harpoonctl " HARPOON_VERSION);
        return EXIT_DONE;
    }
    bool help = strcmp(argv[1], "help") == 0; /* help NOUN is NOUN --help */
    const char *word = argv[help ? 2 : 1];
    for (size_t i = 0; i < ARRAY_LEN(nouns); i++) {
        if (strcmp(word, nouns[i]->name) != 0)
            continue;
        if (help)
            return command_run(nouns[i], 2, (char *[]){argv[2], "--help", NULL});
        return command_run(nouns[i], argc - 1, argv + 1);
    }
    return refuse_noun(word);
}
