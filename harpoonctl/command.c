#include "harpoonctl/command.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_WORDS = 1000 };
static const uint64_t max_id = (UINT64_C(1) << 53) - 1;

int command_fail(const struct error *err)
{
    fprintf(stderr, "harpoonctl: %s\n", err->message);
    switch (err->code) {
    case ERR_INVALID:
        return EXIT_USAGE;
    case ERR_NOT_FOUND:
        return EXIT_NOT_FOUND;
    case ERR_CONFLICT:
        return EXIT_CONFLICT;
    case ERR_FORBIDDEN:
    case ERR_UNAUTHENTICATED:
        return EXIT_FORBIDDEN;
    case ERR_UNAVAILABLE:
    case ERR_BUSY:
        return EXIT_UNREACHABLE;
    case ERR_DEADLINE:
        return EXIT_TIMEOUT;
    default:
        return EXIT_FAILED;
    }
}

int command_parse_id(const char *word, const char *what, uint64_t *ret, struct error *err)
{
    uint64_t id = 0;

    for (const char *p = word; *p != 0; p++) {
        if (*p < '0' || *p > '9' || id > max_id / 10)
            return error_set(err, ERR_INVALID, "\"%.40s\" is no number of %s", word, what);
        id = id * 10 + (uint64_t)(*p - '0');
    }
    if (id == 0 || id > max_id)
        return error_set(err, ERR_INVALID, "\"%.40s\" is no number of %s", word, what);
    *ret = id;
    return 0;
}

int command_parse_ids(const char *const *words, size_t count, const char *what, uint64_t **ret,
                      struct error *err)
{
    uint64_t *ids = calloc(count + 1, sizeof *ids);
    int r = ids == NULL ? error_set(err, ERR_INTERNAL, "out of memory") : 0;

    for (size_t i = 0; i < count && r == 0; i++)
        r = command_parse_id(words[i], what, &ids[i], err);
    if (r < 0)
        free(ids);
    else
        *ret = ids;
    return r;
}

/* ---- help ---- */
static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0;
}

static void print_noun_help(FILE *to, const struct noun *noun)
{
    fprintf(to, "harpoonctl %s: %s\n\nUsage: harpoonctl %s VERB [options]\n\nVerbs:\n", noun->name,
            noun->about, noun->name);
    for (size_t i = 0; i < noun->verb_count; i++) {
        const struct verb *v = &noun->verbs[i];
        char left[60];
        (void)snprintf(left, sizeof left, "%s %s", v->name, v->arguments);
        fprintf(to, "  %-18s  %s\n", left, v->summary);
    }
    fprintf(to, "\n`harpoonctl %s VERB --help` says its options and gives examples.\n", noun->name);
}

static int refuse_verb(const struct noun *noun, const char *word)
{
    if (word == NULL)
        fprintf(stderr, "harpoonctl: %s what? ", noun->name);
    else
        fprintf(stderr, "harpoonctl: %s has no verb '%s': ", noun->name, word);
    for (size_t i = 0; i < noun->verb_count; i++)
        fprintf(stderr, "%s%s",
                i == 0                      ? ""
                : i + 1 == noun->verb_count ? " or "
                                            : ", ",
                noun->verbs[i].name);
    fprintf(stderr, "; `harpoonctl %s --help` says more\n", noun->name);
    return EXIT_USAGE;
}

/* ---- running a verb ---- */
static int check_words(const struct noun *noun, const struct verb *v, size_t count,
                       struct error *err)
{
    if (count >= v->min_words && count <= v->max_words)
        return 0;
    return error_set(err, ERR_INVALID, "usage: harpoonctl %s %s %s [options]; --help says more",
                     noun->name, v->name, v->arguments);
}

/* The environment's file is read before all options, as --config would be. */
static int load_options(const struct noun *noun, const struct verb *v, int argc, char **argv,
                        struct ctl_options *ret, const char **words, size_t *count,
                        struct error *err)
{
    char name[80], usage[120], from_environment[] = "--config";
    struct config_program program = {.name = name,
                                     .summary = v->summary,
                                     .usage = usage,
                                     .options = v->options,
                                     .option_count = v->option_count,
                                     .epilog = v->epilog};
    char *file = getenv("HARPOON_CTL_CONFIG");
    char **all = calloc((size_t)argc + 4, sizeof *all);
    int n = 0;

    if (all == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    (void)snprintf(name, sizeof name, "harpoonctl %s %s", noun->name, v->name);
    (void)snprintf(usage, sizeof usage, "%s%s[options]", v->arguments,
                   v->arguments[0] != 0 ? " " : "");
    all[n++] = name;
    if (file != NULL && file[0] != 0) {
        all[n++] = from_environment;
        all[n++] = file;
    }
    memcpy(all + n, argv, (size_t)argc * sizeof *all);
    int r = config_load(&program, n + argc, all, ret, words, count, err);
    free(all);
    return r;
}

static int run_verb(const struct noun *noun, const struct verb *v, int argc, char **argv)
{
    static const char *words[MAX_WORDS];
    const struct config_program program = {.options = v->options, .option_count = v->option_count};
    struct ctl_options options = {0};
    struct session *session = NULL;
    struct error err = {0};
    size_t count = ARRAY_LEN(words);
    int r = load_options(noun, v, argc, argv, &options, words, &count, &err);

    if (r < 0)
        return command_fail(&err);
    r = check_words(noun, v, count, &err);
    if (r == 0)
        r = session_open(&options, &session, &err);
    if (r == 0)
        r = v->run(session, words, count, &err);
    session_close(session);
    config_free(&program, &options);
    if (r >= 0 && (fflush(stdout) != 0 || ferror(stdout)))
        r = error_set(&err, ERR_INTERNAL, "the output could not be written");
    return r < 0 ? command_fail(&err) : r;
}

int command_run(const struct noun *noun, int argc, char **argv)
{
    if (noun->run != NULL)
        return noun->run(argc, argv);
    const char *word = argc > 1 ? argv[1] : NULL;
    if (word != NULL && is_help(word)) {
        print_noun_help(stdout, noun);
        return EXIT_DONE;
    }
    for (size_t i = 0; word != NULL && i < noun->verb_count; i++)
        if (strcmp(word, noun->verbs[i].name) == 0)
            return run_verb(noun, &noun->verbs[i], argc - 2, argv + 2);
    if (noun->verb_count == 1 && (word == NULL || word[0] == '-'))
        return run_verb(noun, &noun->verbs[0], argc - 1, argv + 1);
    return refuse_verb(noun, word);
}
