/* harpoonctl/pki_command.c: `harpoonctl pki init|issue|show`. */
#include "harpoonctl/command.h"
#include "harpoonctl/pki.h"
#include "lib/clock.h"
#include "lib/config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FILES 4096
#define MAX_ID    ((INT64_C(1) << 53) - 1)

struct options {
    char *dir, *role, *san, *region, *hypervisors;
    int64_t days;
};

#define AT(field) offsetof(struct options, field)
static const struct option_def option_defs[] = {
    {.name = "dir",
     .type = OPTION_STRING,
     .offset = AT(dir),
     .metavar = "DIR",
     .help = "The authority's folder."},
    {.name = "role",
     .type = OPTION_STRING,
     .offset = AT(role),
     .choices = "harpoon|scheduler|eventrouter|operator",
     .metavar = "ROLE",
     .help = "Issue DIR/ROLE.pem, for the programs of that role."},
    {.name = "san",
     .type = OPTION_STRING,
     .offset = AT(san),
     .metavar = "DNS:x,IP:y",
     .help = "Names of a role's machines, beside localhost and 127.0.0.1."},
    {.name = "region",
     .type = OPTION_STRING,
     .offset = AT(region),
     .metavar = "REGION",
     .help = "Issue DIR/agents/REGION/N.pem, for the agents of its hypervisors."},
    {.name = "hypervisors",
     .type = OPTION_STRING,
     .offset = AT(hypervisors),
     .metavar = "FIRST-LAST",
     .help = "Which hypervisors of the region: 1-1000, or one number."},
    {.name = "days",
     .type = OPTION_INT,
     .offset = AT(days),
     .default_value = "365",
     .min = 1,
     .max = 3650,
     .metavar = "DAYS",
     .help = "How long a certificate is valid; it is renewed 30 days before its end."},
};

static const struct config_program program = {
    .name = "harpoonctl pki",
    .summary = "Certificates of a private authority: who may speak with whom.\n\n"
               "  harpoonctl pki init --dir DIR\n"
               "  harpoonctl pki issue --dir DIR --role scheduler\n"
               "  harpoonctl pki issue --dir DIR --region nyc3 --hypervisors 1-1000\n"
               "  harpoonctl pki show FILE...\n\n"
               "Running a command again keeps what is valid and renews what ends soon.",
    .usage = "init|issue|show [options] [FILE...]",
    .options = option_defs,
    .option_count = ARRAY_LEN(option_defs),
};

static int parse_range(const char *text, uint64_t *first, uint64_t *last, struct error *err)
{
    char *end;
    long long a = strtoll(text, &end, 10);
    long long b = *end == '-' ? strtoll(end + 1, &end, 10) : a;
    if (*end != '\0' || a < 1 || b < a || b > MAX_ID)
        return error_set(err, ERR_INVALID, "hypervisors is '%s': FIRST-LAST is expected", text);
    *first = (uint64_t)a;
    *last = (uint64_t)b;
    return 0;
}

static int need_dir(const struct options *o, struct error *err)
{
    return o->dir ? 0 : error_set(err, ERR_INVALID, "--dir is missing");
}

static int init(const struct options *o, struct error *err)
{
    int r = need_dir(o, err);
    if (r == 0)
        r = pki_init(o->dir, err);
    if (r < 0)
        return r;
    printf("%s/ca.pem: %s\n", o->dir, r > 0 ? "made" : "there already, kept");
    return 0;
}

static int issue_hypervisors(struct pki *p, const struct options *o, struct error *err)
{
    uint64_t first = 0;
    uint64_t last = 0;
    int r = parse_range(o->hypervisors, &first, &last, err);
    if (r == 0)
        r = pki_issue_hypervisors(p, o->region, first, last, (int)o->days, err);
    if (r < 0)
        return r;
    printf("%s/agents/%s: %d issued, %" PRIu64 " kept\n", o->dir, o->region, r,
           last - first + 1 - (uint64_t)r);
    return 0;
}

static int issue_role(struct pki *p, const struct options *o, struct error *err)
{
    int r = pki_issue_role(p, o->role, o->san, (int)o->days, err);
    if (r < 0)
        return r;
    printf("%s/%s.pem: %s\n", o->dir, o->role, r > 0 ? "issued" : "valid, kept");
    return 0;
}

static int issue(const struct options *o, struct error *err)
{
    struct pki *p = NULL;
    int r = need_dir(o, err);
    if (r == 0 && !o->role == !(o->region && o->hypervisors))
        r = error_set(err, ERR_INVALID, "either --role, or --region and --hypervisors");
    if (r == 0)
        r = pki_open(o->dir, &p, err);
    if (r == 0)
        r = o->role ? issue_role(p, o, err) : issue_hypervisors(p, o, err);
    pki_close(p);
    return r;
}

static int show(const char *const *files, size_t count, struct error *err)
{
    if (count == 0)
        return error_set(err, ERR_INVALID, "which FILE?");
    for (size_t i = 0; i < count; i++) {
        struct pki_info info;
        char until[21];
        int r = pki_info_load(files[i], &info, err);
        if (r < 0)
            return r;
        clock_format_rfc3339(info.end_unix_s * 1000, until);
        printf("%s\n  subject   %s\n  uri       %s\n  not after %s\n", files[i], info.subject,
               info.uri[0] ? info.uri : "none", until);
    }
    return 0;
}

static int pki_command(int argc, char **argv)
{
    static const char *words[MAX_FILES];
    size_t count = ARRAY_LEN(words);
    struct options o = {0};
    struct error err = {0};
    int r = config_load(&program, argc, argv, &o, words, &count, &err);
    const char *verb = r == 0 && count > 0 ? words[0] : "";
    if (r < 0)
        ;
    else if (strcmp(verb, "init") == 0)
        r = init(&o, &err);
    else if (strcmp(verb, "issue") == 0)
        r = issue(&o, &err);
    else if (strcmp(verb, "show") == 0)
        r = show(words + 1, count - 1, &err);
    else
        r = error_set(&err, ERR_INVALID, "init, issue or show? `harpoonctl pki --help` says more");
    config_free(&program, &o);
    return r < 0 ? command_fail(&err) : EXIT_DONE;
}

const struct noun pki_noun = {
    .name = "pki",
    .summary = "make, issue and show the certificates of a private authority",
    .run = pki_command,
};
