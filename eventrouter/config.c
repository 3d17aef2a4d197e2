#include "eventrouter/config.h"

#include "lib/config.h"
#include "lib/memory.h"

#define STRING(option, field, value, need, what, text)                                             \
    {                                                                                              \
        .name = (option), .type = OPTION_STRING,                                                   \
        .offset = offsetof(struct eventrouter_config, field), .default_value = (value),            \
        .required = (need), .metavar = (what), .help = (text)                                      \
    }
#define INTEGER(option, field, value, least, most, what, text)                                     \
    {                                                                                              \
        .name = (option), .type = OPTION_INT,                                                      \
        .offset = offsetof(struct eventrouter_config, field), .default_value = (value),            \
        .min = (least), .max = (most), .metavar = (what), .help = (text)                           \
    }

static const struct option_def options[] = {
    {.name = "log-level",
     .type = OPTION_STRING,
     .offset = offsetof(struct eventrouter_config, log_level),
     .default_value = "info",
     .choices = "debug|info|warn|error",
     .metavar = "LEVEL",
     .help = "Lines below this level are not written."},
    STRING("admin-listen", admin_listen, NULL, false, "ADDRESS",
           "Where /metrics, /livez and /readyz are served; without it, nowhere."),
    STRING("region", region, NULL, true, "REGION",
           "Slug of the region whose hypervisors are held here."),
    STRING("name", name, NULL, true, "NAME", "What schedulers and people call this router."),
    STRING("listen", listen, NULL, true, "ADDRESS",
           "Where agents and workers are served, over mutual TLS."),
    STRING("advertise", advertise, NULL, false, "ADDRESS",
           "The address that others know this router by; without it that of --listen."),
    STRING("peers", peers, NULL, true, "LIST",
           "Addresses of all routers of the region, this one included, comma separated. The same "
           "for all of them and for the workers: it decides who holds which hypervisor."),
    STRING("harpoon", harpoon, NULL, true, "LIST",
           "Addresses of Harpoon's workers, comma separated; one that answers is asked."),
    STRING("schedulers", schedulers, NULL, true, "LIST",
           "Addresses of all the region's scheduler replicas, comma separated; each is told."),
    STRING("tls-ca", tls_ca, NULL, true, "FILE",
           "Authority that peers' certificates must have (PEM)."),
    STRING("tls-certificate", tls_certificate, NULL, true, "FILE", "Our certificate (PEM)."),
    STRING("tls-key", tls_key, NULL, true, "FILE", "Its private key (PEM)."),
    INTEGER("sample-interval-ms", sample_interval_ms, "5000", 100, 60000, "MS",
            "How often agents send a sample; silent for three, a stream is ended."),
    INTEGER("max-agents", max_agents, "20000", 1, 1000000, "N", "Streams held at most."),
    INTEGER("agent-queue", agent_queue, "256", 4, 65536, "N",
            "Messages that wait on one agent's stream at most."),
    INTEGER("rpc-threads", rpc_threads, "2", 1, 64, "N", "Threads that serve streams and calls."),
    INTEGER("drain-ms", drain_ms, "5000", 0, 600000, "MS",
            "When stopping: agents are asked to move within this time, then cut off."),
};

static const struct config_program program = {
    .name = "eventrouter",
    .summary = "Holds the streams of a region's hypervisors: hands them jobs, carries their "
               "reports to Harpoon and their load to the schedulers.",
    .usage = "[options]",
    .options = options,
    .option_count = ARRAY_LEN(options),
};

static int check(const struct eventrouter_config *c, struct error *err)
{
    struct address_list peers;
    int r = 0;

    address_list_init(&peers, c->peers);
    if (address_list_find(&peers, c->advertise) < 0)
        r = error_set(err, ERR_INVALID, "peers is \"%.200s\": %.60s itself must be among them",
                      c->peers, c->advertise);
    else if (peers.count > ROUTERS_MAX)
        r = error_set(err, ERR_INVALID, "peers: %zu, at most %d", peers.count, ROUTERS_MAX);
    address_list_fini(&peers);
    return r;
}

int eventrouter_config_load(int argc, char **argv, struct eventrouter_config *ret,
                            struct error *err)
{
    int r = config_load(&program, argc, argv, ret, NULL, NULL, err);

    if (r < 0)
        return r;
    if (!ret->advertise)
        ret->advertise = must_strdup(ret->listen);
    return check(ret, err);
}

void eventrouter_config_free(struct eventrouter_config *c)
{
    config_free(&program, c);
}

struct rpc_tls eventrouter_config_tls(const struct eventrouter_config *c)
{
    return (struct rpc_tls){c->tls_ca, c->tls_certificate, c->tls_key};
}

void address_list_init(struct address_list *l, const char *text)
{
    char *copy = must_strdup(text);
    char *rest = copy;
    char *one;

    *l = (struct address_list){NULL, 0};
    while ((one = strsep(&rest, ",")) != NULL) {
        one += strspn(one, " ");
        one[strcspn(one, " ")] = '\0';
        if (!*one)
            continue;
        l->items = must_resize(l->items, l->count + 1, sizeof(l->items[0]));
        l->items[l->count++] = must_strdup(one);
    }
    free(copy);
}

void address_list_fini(struct address_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        free(l->items[i]);
    free(l->items);
    *l = (struct address_list){NULL, 0};
}

int address_list_find(const struct address_list *l, const char *address)
{
    for (size_t i = 0; i < l->count; i++)
        if (strcmp(l->items[i], address) == 0)
            return (int)i;
    return -1;
}
