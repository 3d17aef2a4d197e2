#include "lib/config.h"

#include "lib/config_help.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <ini.h>

enum { FILE_LINE_MAX = 4096 }; /* bytes, with its end */

struct loading {
    const struct config_program *program;
    void *into;
    const char *file;        /* NULL: the command line */
    const char *config_file; /* --config */
    const char **given;      /* [option]: value on the command line, NULL: none */
    int *line_of;            /* [option]: where the file has it, 0: nowhere */
    const char **words;      /* where words go */
    size_t word_limit, word_count;
    bool refuse_words;
    int line; /* being read */
    FILE *in;
    bool failed; /* *err is set */
    struct error *err;
};

static const struct option_def *find_option(const struct config_program *program, const char *name,
                                            size_t len)
{
    for (size_t i = 0; i < program->option_count; i++) {
        const char *known = program->options[i].name;
        if (strlen(known) == len && memcmp(known, name, len) == 0)
            return &program->options[i];
    }
    return NULL;
}

/* ---- the nearest known name, for a mistyped one ---- */
enum { NAME_MAX_BYTES = 64 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* How many letters to change, add, take away or swap with their neighbour. */
static size_t edit_distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t d[NAME_MAX_BYTES + 1][NAME_MAX_BYTES + 1];

    if (a_len > NAME_MAX_BYTES || b_len > NAME_MAX_BYTES)
        return SIZE_MAX;
    for (size_t i = 0; i <= a_len; i++)
        d[i][0] = i;
    for (size_t j = 0; j <= b_len; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        for (size_t j = 1; j <= b_len; j++) {
            d[i][j] = least(least(d[i - 1][j], d[i][j - 1]) + 1,
                            d[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
        }
    }
    return d[a_len][b_len];
}

static const char *find_nearest(const struct config_program *program, const char *name, size_t len)
{
    const char *best = NULL;
    size_t best_distance = SIZE_MAX;

    for (size_t i = 0; i < program->option_count; i++) {
        const char *known = program->options[i].name;
        size_t distance = edit_distance(name, len, known, strlen(known));
        if (distance < best_distance) {
            best = known;
            best_distance = distance;
        }
    }
    return best;
}

static int refuse_name(struct loading *l, const char *name, size_t len)
{
    const char *dashes = l->file != NULL ? "" : "--";
    const char *nearest = find_nearest(l->program, name, len);
    int shown = len > NAME_MAX_BYTES ? NAME_MAX_BYTES : (int)len;

    if (nearest == NULL)
        return error_set(l->err, ERR_INVALID, "no option is named %s%.*s", dashes, shown, name);
    return error_set(l->err, ERR_INVALID, "no option is named %s%.*s; the nearest is %s%s", dashes,
                     shown, name, dashes, nearest);
}

/* ---- values ---- */
static int refuse_value(const struct option_def *def, const char *value, struct error *err)
{
    char expected[240];

    config_describe_value(def, expected, sizeof expected);
    return error_set(err, ERR_INVALID, "%s is \"%.40s\": %s is expected", def->name, value,
                     expected);
}

static int set_int(const struct option_def *def, const char *value, int64_t *ret, struct error *err)
{
    char *end = NULL;

    errno = 0;
    long long v = strtoll(value, &end, 10);
    bool starts = value[0] == '-' || (value[0] >= '0' && value[0] <= '9');
    if (!starts || end == value || *end != 0 || errno != 0 || v < def->min || v > def->max)
        return refuse_value(def, value, err);
    *ret = v;
    return 0;
}

static int set_bool(const struct option_def *def, const char *value, bool *ret, struct error *err)
{
    static const char *const yes[] = {"yes", "true", "1"}, *const no[] = {"no", "false", "0"};

    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        bool is_yes = strcmp(value, yes[i]) == 0;
        if (is_yes || strcmp(value, no[i]) == 0) {
            *ret = is_yes;
            return 0;
        }
    }
    return refuse_value(def, value, err);
}

static bool is_choice(const char *choices, const char *value)
{
    size_t len = strlen(value);

    for (const char *p = choices;; p++) {
        size_t n = strcspn(p, "|");
        if (n == len && memcmp(p, value, n) == 0)
            return true;
        p += n;
        if (*p == 0)
            return false;
    }
}

static int set_string(const struct option_def *def, const char *value, char **ret,
                      struct error *err)
{
    if (def->choices != NULL && !is_choice(def->choices, value))
        return refuse_value(def, value, err);
    char *copy = strdup(value);
    if (copy == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    free(*ret);
    *ret = copy;
    return 0;
}

static int set_value(const struct option_def *def, const char *value, void *into, struct error *err)
{
    void *field = (char *)into + def->offset;

    switch (def->type) {
    case OPTION_INT:
        return set_int(def, value, field, err);
    case OPTION_BOOL:
        return set_bool(def, value, field, err);
    case OPTION_STRING:
        return set_string(def, value, field, err);
    }
    return error_set(err, ERR_INTERNAL, "option %s has no type", def->name);
}

static void clear_values(const struct config_program *program, void *into)
{
    for (size_t i = 0; i < program->option_count; i++) {
        void *field = (char *)into + program->options[i].offset;
        switch (program->options[i].type) {
        case OPTION_INT:
            *(int64_t *)field = 0;
            break;
        case OPTION_BOOL:
            *(bool *)field = false;
            break;
        case OPTION_STRING:
            *(char **)field = NULL;
            break;
        }
    }
}

static int set_defaults(const struct loading *l)
{
    clear_values(l->program, l->into);
    for (size_t i = 0; i < l->program->option_count; i++) {
        const struct option_def *def = &l->program->options[i];
        if (def->default_value == NULL)
            continue;
        int r = set_value(def, def->default_value, l->into, l->err);
        if (r < 0)
            return error_in(l->err, "default");
    }
    return 0;
}

/* ---- the file ---- */
static void file_error(struct loading *l, int line)
{
    error_in(l->err, "%s:%d", l->file, line);
    l->failed = true;
}

/* inih's reader: one line, never a part of one. NULL ends the file. */
static char *read_line(char *text, int size, void *ctx)
{
    struct loading *l = ctx;
    int c, n = 0;

    if (l->failed)
        return NULL;
    l->line++;
    while ((c = getc(l->in)) != EOF) {
        if (c == 0 || n >= size - 2) {
            (void)error_set(l->err, ERR_INVALID,
                            c == 0 ? "a zero byte, and text is expected"
                                   : "the line is longer than %d bytes",
                            size - 3);
            file_error(l, l->line);
            return NULL;
        }
        text[n++] = (char)c;
        if (c == '\n')
            break;
    }
    text[n] = 0;
    return n > 0 ? text : NULL;
}

/* inih's handler: 1 goes on, 0 is an error. */
static int on_pair(void *ctx, const char *section, const char *name, const char *value)
{
    struct loading *l = ctx;

    UNUSED(section);
    if (l->failed)
        return 0;
    const struct option_def *def = find_option(l->program, name, strlen(name));
    if (def == NULL) {
        (void)refuse_name(l, name, strlen(name));
        file_error(l, l->line);
        return 0;
    }
    int *line_of = &l->line_of[def - l->program->options];
    if (*line_of != 0) {
        (void)error_set(l->err, ERR_INVALID, "%s is given twice, first in line %d", name, *line_of);
        file_error(l, l->line);
        return 0;
    }
    *line_of = l->line;
    if (set_value(def, value, l->into, l->err) < 0) {
        file_error(l, l->line);
        return 0;
    }
    return 1;
}

static int read_file(struct loading *l)
{
    l->file = l->config_file;
    l->in = fopen(l->file, "re");
    if (l->in == NULL)
        return error_set(l->err, ERR_INVALID, "--config %.200s: %s", l->file, strerror(errno));
    /* A value is what the line says: no comment inside it, no continuation by indenting. */
    ini_allow_multiline = false;
    ini_allow_inline_comments = false;
    ini_use_stack = false;
    ini_initial_alloc = FILE_LINE_MAX;
    int r = ini_parse_stream(read_line, l, on_pair, l);
    if (r == 0 && ferror(l->in))
        (void)error_set(l->err, ERR_INVALID, "%.200s: %s", l->file, strerror(errno));
    else if (!l->failed && r > 0)
        (void)error_set(l->err, ERR_INVALID, "%.200s:%d: name = value is expected", l->file, r);
    else if (!l->failed && r < 0)
        (void)error_set(l->err, ERR_INTERNAL, "%.200s: out of memory", l->file);
    else if (!l->failed)
        l->err->code = 0;
    fclose(l->in);
    l->file = NULL;
    return l->err->code;
}

/* ---- the command line ---- */
static int take_word(struct loading *l, const char *word)
{
    if (l->refuse_words)
        return error_set(l->err, ERR_INVALID, "\"%.60s\" is not expected; see %s --help", word,
                         l->program->name);
    if (l->word_count == l->word_limit)
        return error_set(l->err, ERR_INVALID, "\"%.60s\" is one word too many; see %s --help", word,
                         l->program->name);
    l->words[l->word_count++] = word;
    return 0;
}

/* One option at argv[*i], which moves past a value of its own. */
static int take_option(struct loading *l, int argc, char **argv, int *i)
{
    const char *name = argv[*i] + 2;
    size_t len = strcspn(name, "=");
    const char *value = name[len] == '=' ? name + len + 1 : NULL;

    if (len == 4 && memcmp(name, "help", 4) == 0) {
        config_print_help(stdout, l->program);
        exit(0);
    }
    if (len == 7 && memcmp(name, "version", 7) == 0) {
        printf("%s %s\n", l->program->name, HARPOON_VERSION);
        exit(0);
    }
    bool is_config = len == 6 && memcmp(name, "config", 6) == 0;
    const struct option_def *def = find_option(l->program, name, len);
    if (def == NULL && !is_config)
        return refuse_name(l, name, len);
    if (value == NULL && def != NULL && def->type == OPTION_BOOL)
        value = "yes";
    if (value == NULL && ++*i < argc)
        value = argv[*i];
    if (value == NULL)
        return error_set(l->err, ERR_INVALID, "--%.*s needs a value", (int)len, name);
    if (def != NULL)
        l->given[def - l->program->options] = value;
    else
        l->config_file = value;
    return 0;
}

static int read_arguments(struct loading *l, int argc, char **argv)
{
    bool options_ended = false;

    for (int i = 1; i < argc; i++) {
        int r = 0;
        if (options_ended || argv[i][0] != '-' || argv[i][1] == 0)
            r = take_word(l, argv[i]);
        else if (strcmp(argv[i], "--") == 0)
            options_ended = true;
        else if (strcmp(argv[i], "-h") == 0)
            r = take_option(l, 1, (char *[]){"--help"}, &(int){0});
        else if (argv[i][1] != '-')
            r = error_set(l->err, ERR_INVALID, "\"%.60s\" is no option; see %s --help", argv[i],
                          l->program->name);
        else
            r = take_option(l, argc, argv, &i);
        if (r < 0)
            return r;
    }
    return 0;
}

static int set_given(const struct loading *l)
{
    for (size_t i = 0; i < l->program->option_count; i++) {
        const struct option_def *def = &l->program->options[i];
        if (l->given[i] == NULL)
            continue;
        int r = set_value(def, l->given[i], l->into, l->err);
        if (r < 0)
            return error_in(l->err, "command line");
    }
    return 0;
}

static int check_required(const struct loading *l)
{
    for (size_t i = 0; i < l->program->option_count; i++) {
        const struct option_def *def = &l->program->options[i];
        char expected[240];
        if (!def->required || l->given[i] != NULL || l->line_of[i] != 0)
            continue;
        config_describe_value(def, expected, sizeof expected);
        return error_set(l->err, ERR_INVALID, "--%s is required: %s (%s)", def->name, expected,
                         def->help != NULL ? def->help : "");
    }
    return 0;
}

static int load(struct loading *l, int argc, char **argv)
{
    int r = read_arguments(l, argc, argv);
    if (r == 0)
        r = set_defaults(l);
    if (r == 0 && l->config_file != NULL)
        r = read_file(l);
    if (r == 0)
        r = set_given(l);
    if (r == 0)
        r = check_required(l);
    return r;
}

int config_load(const struct config_program *program, int argc, char **argv, void *into,
                const char **words, size_t *word_count, struct error *err)
{
    struct loading l = {
        .program = program,
        .into = into,
        .words = words,
        .word_limit = words != NULL ? *word_count : 0,
        .refuse_words = words == NULL,
        .given = calloc(program->option_count + 1, sizeof *l.given),
        .line_of = calloc(program->option_count + 1, sizeof *l.line_of),
        .err = err,
    };
    clear_values(program, into);
    int r = l.given == NULL || l.line_of == NULL ? error_set(err, ERR_INTERNAL, "out of memory")
                                                 : load(&l, argc, argv);
    free(l.given);
    free(l.line_of);
    if (r < 0)
        config_free(program, into);
    else if (words != NULL)
        *word_count = l.word_count;
    return r;
}

void config_free(const struct config_program *program, void *into)
{
    for (size_t i = 0; i < program->option_count; i++) {
        char **field = (char **)((char *)into + program->options[i].offset);
        if (program->options[i].type != OPTION_STRING)
            continue;
        free(*field);
        *field = NULL;
    }
}
