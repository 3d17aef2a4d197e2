#include "hypervisor-agent/config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ID (UINT64_C(1) << 53)

#define STRING(option, field, value, what, text)                                                   \
    {                                                                                              \
        .name = (option), .type = OPTION_STRING, .offset = offsetof(struct agent_config, field),   \
        .default_value = (value), .metavar = (what), .help = (text)                                \
    }
#define REQUIRED(option, field, what, text)                                                        \
    {                                                                                              \
        .name = (option), .type = OPTION_STRING, .offset = offsetof(struct agent_config, field),   \
        .required = true, .metavar = (what), .help = (text)                                        \
    }
#define CHOICE(option, field, value, words, text)                                                  \
    {                                                                                              \
        .name = (option), .type = OPTION_STRING, .offset = offsetof(struct agent_config, field),   \
        .default_value = (value), .choices = (words), .metavar = "WORD", .help = (text)            \
    }
#define INTEGER(option, field, value, least, most, what, text)                                     \
    {                                                                                              \
        .name = (option), .type = OPTION_INT, .offset = offsetof(struct agent_config, field),      \
        .default_value = (value), .min = (least), .max = (most), .metavar = (what), .help = (text) \
    }

static const struct option_def options[] = {
    CHOICE("log-level", log_level, "info", "debug|info|warn|error",
           "Lines below this level are not written."),
    STRING("admin-listen", admin_listen, NULL, "ADDRESS",
           "Where /metrics, /livez and /readyz are served; without it, nowhere."),
    REQUIRED("region", region, "SLUG", "The region these hypervisors are in."),
    REQUIRED("hypervisors", hypervisors, "LIST",
             "Their numbers: \"7\" or \"1-1000,2001\"; with the libvirt driver just one."),
    CHOICE("driver", driver, "libvirt", "sim|libvirt",
           "What makes domains: libvirt, or a simulation of any number of hypervisors."),
    REQUIRED("state-dir", state_dir, "FOLDER",
             "Where the journal and the driver keep their files; made if missing."),
    REQUIRED("routers", routers, "LIST", "Addresses of all the region's routers, comma separated."),
    REQUIRED("tls-ca", tls_ca, "FILE", "Certificates of the authority that routers must have."),
    REQUIRED("tls-certificate", tls_certificate, "FILE",
             "Our certificate (PEM); {id} is replaced by the hypervisor's number."),
    REQUIRED("tls-key", tls_key, "FILE",
             "Its private key (PEM); {id} is replaced by the hypervisor's number."),
    STRING("capacity-reserve", capacity_reserve, "0,0,0", "VCPU,MIB,GIB",
           "What is kept from droplets, for the host itself."),
    INTEGER("max-creates", max_creates, "8", 1, 1024, "N",
            "Creates a hypervisor works on at a time; as many removals beside them."),
    INTEGER("max-jobs", max_jobs, "1000", 1, 1000000, "N",
            "Unfinished jobs a hypervisor holds; beyond it deliveries are refused."),
    INTEGER("confirm-after-ms", confirm_after_ms, "10000", 10, 3600000, "MS",
            "A job accepted and not started for so long is asked about."),
    INTEGER("report-running-after-ms", report_running_after_ms, "250", 0, 60000, "MS",
            "A job that ends sooner is reported by its result alone."),
    INTEGER("retry-ms", retry_ms, "1000", 1, 60000, "MS",
            "The first pause before what did not work now is tried again; it doubles."),
    INTEGER("answer-timeout-ms", answer_timeout_ms, "20000", 10, 600000, "MS",
            "How long a router may take to connect and to answer an attach."),
    INTEGER("fleet-size", fleet_size, "0", 0, 1000000, "N",
            "Agents that lose a router together: what reconnects are spread for; 0: as many as "
            "this process has."),
    INTEGER("journal-keep-days", journal_keep_days, "30", 0, 36500, "DAYS",
            "Ended jobs that Harpoon has acknowledged are forgotten after so long."),
    INTEGER("journal-keep-marks-days", journal_keep_marks_days, "0", 0, 36500, "DAYS",
            "That a droplet was destroyed here is forgotten after so long; longer than event rows "
            "are kept. 0: never."),
    INTEGER("journal-max-ended", journal_max_ended, "1000000", 1, 100000000, "N",
            "Ended jobs the whole process keeps; the oldest go first."),
    STRING("libvirt-uri", libvirt_uri, "qemu:///system", "URI", "The libvirt driver's connection."),
    CHOICE("libvirt-virt-type", libvirt_virt_type, "qemu", "qemu|kvm",
           "How the libvirt driver's guests are run."),
    STRING("libvirt-bridge", libvirt_bridge, NULL, "NAME",
           "The host's bridge for guests; without it, user mode networking."),
    STRING("sim-shape", sim_shape, "512,2097152,100000", "VCPU,MIB,GIB",
           "Capacity of each simulated hypervisor."),
    INTEGER("latency-ms", latency_ms, "50", 0, 3600000, "MS",
            "How long a simulated operation takes, give or take half."),
    INTEGER("sim-fail-permille", sim_fail_permille, "0", 0, 1000, "N",
            "How many of 1,000 simulated operations fail."),
    STRING("sim-ledger", sim_ledger, NULL, "PATH",
           "The simulated truth; without it, sim-ledger.log in the state folder."),
};

const struct config_program agent_program = {
    .name = "hypervisor-agent",
    .summary =
        "Runs droplets on a hypervisor: takes jobs from the region's router, does each once, "
        "reports what became of it.",
    .usage = "[options]",
    .options = options,
    .option_count = ARRAY_LEN(options),
};

/* ---- lists ---- */

static bool parse_number(const char **at, uint64_t *ret)
{
    char *end = NULL;

    if (**at < '0' || **at > '9')
        return false;
    errno = 0;
    *ret = strtoull(*at, &end, 10);
    *at = end;
    return errno == 0;
}

static int add_range(struct agent_setup *s, uint64_t first, uint64_t last, struct error *err)
{
    if (first == 0 || last < first || last >= MAX_ID)
        return error_set(err, ERR_INVALID, "hypervisors: %" PRIu64 "-%" PRIu64 " is no range",
                         first, last);
    if (last - first >= AGENT_MAX_HYPERVISORS - s->hypervisor_count)
        return error_set(err, ERR_INVALID, "hypervisors: at most %d", AGENT_MAX_HYPERVISORS);
    size_t count = s->hypervisor_count + (size_t)(last - first) + 1;
    uint64_t *ids = realloc(s->hypervisors, count * sizeof *ids);
    if (ids == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    s->hypervisors = ids;
    for (uint64_t id = first; id <= last; id++)
        ids[s->hypervisor_count++] = id;
    return 0;
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static int parse_hypervisors(const char *text, struct agent_setup *s, struct error *err)
{
    const char *at = text;

    for (;;) {
        uint64_t first, last;
        bool fine = parse_number(&at, &first);
        last = first;
        if (fine && *at == '-') {
            at++;
            fine = parse_number(&at, &last);
        }
        if (!fine || (*at != ',' && *at != 0))
            return error_set(err, ERR_INVALID,
                             "hypervisors is \"%.60s\": numbers and ranges are expected, such as "
                             "\"1-1000,2001\"",
                             text);
        int r = add_range(s, first, last, err);
        if (r < 0)
            return r;
        if (*at++ == 0)
            break;
    }
    qsort(s->hypervisors, s->hypervisor_count, sizeof *s->hypervisors, compare_ids);
    for (size_t i = 1; i < s->hypervisor_count; i++)
        if (s->hypervisors[i] == s->hypervisors[i - 1])
            return error_set(err, ERR_INVALID, "hypervisors has %" PRIu64 " twice",
                             s->hypervisors[i]);
    return 0;
}

static int parse_routers(const char *text, struct agent_setup *s, struct error *err)
{
    s->routers = calloc(AGENT_MAX_ROUTERS, sizeof *s->routers);
    if (s->routers == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    for (const char *at = text;; at++) {
        size_t length = strcspn(at, ",");
        if (length == 0)
            return error_set(err, ERR_INVALID, "routers is \"%.60s\": addresses are expected",
                             text);
        if (s->router_count == AGENT_MAX_ROUTERS)
            return error_set(err, ERR_INVALID, "routers: at most %d", AGENT_MAX_ROUTERS);
        char *one = strndup(at, length);
        if (one == NULL)
            return error_set(err, ERR_INTERNAL, "out of memory");
        s->routers[s->router_count++] = one;
        at += length;
        if (*at == 0)
            return 0;
    }
}

static int parse_capacity(const char *option, const char *text, struct driver_capacity *ret,
                          struct error *err)
{
    const char *at = text;
    uint64_t v[3];

    for (size_t i = 0; i < 3; i++) {
        char wanted_end = i < 2 ? ',' : 0;
        if (!parse_number(&at, &v[i]) || v[i] > INT32_MAX || *at != wanted_end)
            return error_set(err, ERR_INVALID,
                             "%s is \"%.60s\": vCPUs, MiB and GiB are expected, such as "
                             "\"512,2097152,100000\"",
                             option, text);
        at++;
    }
    *ret = (struct driver_capacity){(uint32_t)v[0], (uint32_t)v[1], (uint32_t)v[2]};
    return 0;
}

int agent_setup_init(const struct agent_config *config, struct agent_setup *ret, struct error *err)
{
    struct agent_setup s = {.config = config};
    int r = parse_hypervisors(config->hypervisors, &s, err);

    if (r == 0)
        r = parse_routers(config->routers, &s, err);
    if (r == 0)
        r = parse_capacity("sim-shape", config->sim_shape, &s.sim_shape, err);
    if (r == 0)
        r = parse_capacity("capacity-reserve", config->capacity_reserve, &s.reserve, err);
    if (r == 0 && strcmp(config->driver, "libvirt") == 0 && s.hypervisor_count != 1)
        r = error_set(err, ERR_INVALID, "hypervisors: the libvirt driver has just one, not %zu",
                      s.hypervisor_count);
    if (r == 0 && s.hypervisor_count > 1 && strstr(config->tls_certificate, "{id}") == NULL)
        r = error_set(err, ERR_INVALID,
                      "tls-certificate: {id} is expected in it, each hypervisor "
                      "has its own");
    if (r < 0) {
        agent_setup_fini(&s);
        return r;
    }
    *ret = s;
    return 0;
}

void agent_setup_fini(struct agent_setup *s)
{
    for (size_t i = 0; i < s->router_count; i++)
        free(s->routers[i]);
    free(s->routers);
    free(s->hypervisors);
    *s = (struct agent_setup){0};
}

char *agent_format_path(const char *pattern, hypervisor_id id)
{
    static const char place[] = "{id}";
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    if (out == NULL)
        return NULL;
    for (const char *at = pattern, *next; *at != 0; at = next) {
        next = strstr(at, place);
        if (next == NULL)
            next = at + strlen(at);
        fwrite(at, 1, (size_t)(next - at), out);
        if (*next != 0) {
            fprintf(out, "%" PRIu64, id.v);
            next += sizeof place - 1;
        }
    }
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}
