#include "lib/config_help.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_COLUMN = 30, LAST_COLUMN = 96 };

static const struct option_def common[] = {
    {.name = "config",
     .type = OPTION_STRING,
     .metavar = "FILE",
     .help = "Reads options from FILE, a line each: name = value. The command line wins over it."},
    {.name = "help", .type = OPTION_BOOL, .help = "Prints this and exits."},
    {.name = "version", .type = OPTION_BOOL, .help = "Prints the version and exits."},
};

/* "debug|info|warn" with `between` in the place of the bars. */
static void join_choices(const char *choices, const char *between, char *ret, size_t size)
{
    size_t len = 0;

    for (const char *p = choices; *p != 0 && len + strlen(between) + 1 < size; p++) {
        if (*p != '|') {
            ret[len++] = *p;
            continue;
        }
        memcpy(ret + len, between, strlen(between));
        len += strlen(between);
    }
    ret[len] = 0;
}

void config_describe_value(const struct option_def *def, char *ret, size_t size)
{
    char choices[200];

    switch (def->type) {
    case OPTION_INT:
        (void)snprintf(ret, size, "a number from %" PRId64 " to %" PRId64, def->min, def->max);
        return;
    case OPTION_BOOL:
        (void)snprintf(ret, size, "yes or no");
        return;
    case OPTION_STRING:
        if (def->choices == NULL) {
            (void)snprintf(ret, size, "a text");
            return;
        }
        join_choices(def->choices, ", ", choices, sizeof choices);
        (void)snprintf(ret, size, "one of %s", choices);
        return;
    }
}

/* The type in a word or two, for tables. */
static void describe_type(const struct option_def *def, char *ret, size_t size)
{
    switch (def->type) {
    case OPTION_INT:
        (void)snprintf(ret, size, "number %" PRId64 "..%" PRId64, def->min, def->max);
        return;
    case OPTION_BOOL:
        (void)snprintf(ret, size, "yes or no");
        return;
    case OPTION_STRING:
        if (def->choices != NULL)
            join_choices(def->choices, ", ", ret, size);
        else
            (void)snprintf(ret, size, "text");
        return;
    }
}

static const char *metavar_of(const struct option_def *def)
{
    if (def->metavar != NULL)
        return def->metavar;
    return def->type == OPTION_INT ? "N" : def->type == OPTION_STRING ? "TEXT" : "";
}

static void describe_default(const struct option_def *def, char *ret, size_t size)
{
    if (def->required)
        (void)snprintf(ret, size, "required");
    else if (def->default_value != NULL && def->default_value[0] != 0)
        (void)snprintf(ret, size, "default %s", def->default_value);
    else if (def->type == OPTION_BOOL)
        (void)snprintf(ret, size, "default no");
    else if (def->type == OPTION_INT)
        (void)snprintf(ret, size, "default 0");
    else
        (void)snprintf(ret, size, "not set");
}

/* Words from `column` on, broken before LAST_COLUMN. */
static void print_wrapped(FILE *out, int column, const char *text)
{
    const char *p = text;
    int at = column;

    while (*p != 0) {
        size_t word = strcspn(p, " ");
        if (at > column && at + 1 + (int)word > LAST_COLUMN) {
            fprintf(out, "\n%*s", column, "");
            at = column;
        } else if (at > column) {
            fputc(' ', out);
            at++;
        }
        fwrite(p, 1, word, out);
        at += (int)word;
        p += word;
        p += strspn(p, " ");
    }
    fputc('\n', out);
}

static void print_option(FILE *out, const struct option_def *def, bool with_value)
{
    char left[80], type[200], usual[200], text[800];
    const char *metavar = metavar_of(def);

    int n =
        snprintf(left, sizeof left, "  --%s%s%s", def->name, metavar[0] != 0 ? " " : "", metavar);
    fputs(left, out);
    if (n > TEXT_COLUMN - 2)
        fprintf(out, "\n%*s", TEXT_COLUMN, "");
    else
        fprintf(out, "%*s", TEXT_COLUMN - n, "");
    describe_type(def, type, sizeof type);
    describe_default(def, usual, sizeof usual);
    if (with_value)
        (void)snprintf(text, sizeof text, "%s [%s; %s]", def->help != NULL ? def->help : "", type,
                       usual);
    else
        (void)snprintf(text, sizeof text, "%s", def->help);
    print_wrapped(out, TEXT_COLUMN, text);
}

void config_print_help(FILE *out, const struct config_program *program)
{
    fprintf(out, "%s: %s\n\nUsage: %s %s\n\nOptions:\n", program->name, program->summary,
            program->name, program->usage != NULL ? program->usage : "[options]");
    for (size_t i = 0; i < program->option_count; i++)
        print_option(out, &program->options[i], true);
    for (size_t i = 0; i < ARRAY_LEN(common); i++)
        print_option(out, &common[i], false);
    if (program->epilog != NULL)
        fprintf(out, "\n%s", program->epilog);
}

/* A bar would end the cell. */
static void print_cell(FILE *out, const char *text)
{
    for (; *text != 0; text++)
        fprintf(out, *text == '|' ? "\\|" : "%c", *text);
}

char *config_format_markdown(const struct config_program *program)
{
    char *text = NULL, type[200];
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    if (out == NULL)
        return NULL;
    fputs("| option | type | default | what it does |\n|---|---|---|---|\n", out);
    for (size_t i = 0; i < program->option_count; i++) {
        const struct option_def *def = &program->options[i];
        const char *usual = def->required                ? "required"
                            : def->default_value != NULL ? def->default_value
                            : def->type == OPTION_BOOL   ? "no"
                            : def->type == OPTION_INT    ? "0"
                                                         : "";
        describe_type(def, type, sizeof type);
        fprintf(out, "| `--%s` | ", def->name);
        print_cell(out, type);
        fputs(" | ", out);
        print_cell(out, usual);
        fputs(" | ", out);
        print_cell(out, def->help != NULL ? def->help : "");
        fputs(" |\n", out);
    }
    fclose(out);
    return text;
}
