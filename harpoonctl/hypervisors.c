/* harpoonctl/hypervisors.c: `harpoonctl hypervisors list|approve|fence|unfence`. */
#include "harpoonctl/command.h"
#include "harpoonctl/describe.h"
#include "harpoonctl/table.h"
#include "lib/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- list ---- */
static const char *status_word(Harpoon__Scheduler__V1__HypervisorStatus status)
{
    switch (status) {
    case HARPOON__SCHEDULER__V1__HYPERVISOR_STATUS__HYPERVISOR_STATUS_NEW:
        return "new";
    case HARPOON__SCHEDULER__V1__HYPERVISOR_STATUS__HYPERVISOR_STATUS_UP:
        return "up";
    case HARPOON__SCHEDULER__V1__HYPERVISOR_STATUS__HYPERVISOR_STATUS_DRAINED:
        return "drained";
    case HARPOON__SCHEDULER__V1__HYPERVISOR_STATUS__HYPERVISOR_STATUS_FENCED:
        return "fenced";
    default: /* of a newer scheduler */
        return "unknown";
    }
}

static json_t *describe_resources(const Harpoon__Scheduler__V1__Resources *r)
{
    json_t *o = json_object();

    json_object_set_new(o, "vcpus", json_integer(r != NULL ? r->vcpus : 0));
    json_object_set_new(o, "memory_mib", json_integer(r != NULL ? r->memory_mib : 0));
    json_object_set_new(o, "disk_gib", json_integer(r != NULL ? r->disk_gib : 0));
    return o;
}

static json_t *describe_hypervisor(const Harpoon__Scheduler__V1__Hypervisor *h)
{
    json_t *o = json_object();

    json_object_set_new(o, "id", describe_id(h->id));
    json_object_set_new(o, "region", describe_text(h->region));
    json_object_set_new(o, "status", json_string(status_word(h->status)));
    json_object_set_new(o, "connected", json_boolean(h->connected));
    json_object_set_new(o, "journal_id", describe_text(h->journal_id));
    json_object_set_new(o, "capacity", describe_resources(h->capacity));
    json_object_set_new(o, "claimed", describe_resources(h->claimed));
    json_object_set_new(o, "claims", json_integer(h->claims));
    json_object_set_new(o, "seen_at", describe_time(h->seen_unix_ms));
    json_object_set_new(o, "not_placeable_because", describe_text(h->not_placeable_because));
    return o;
}

static const char *format_share(uint64_t claimed, uint64_t capacity, char ret[48])
{
    (void)snprintf(ret, 48, "%" PRIu64 "/%" PRIu64, claimed, capacity);
    return ret;
}

static void add_shares(struct table *t, const Harpoon__Scheduler__V1__Resources *claimed,
                       const Harpoon__Scheduler__V1__Resources *capacity)
{
    static const Harpoon__Scheduler__V1__Resources none = HARPOON__SCHEDULER__V1__RESOURCES__INIT;
    char text[48];

    claimed = claimed != NULL ? claimed : &none;
    capacity = capacity != NULL ? capacity : &none;
    table_add(t, format_share(claimed->vcpus, capacity->vcpus, text));
    table_add(t, format_share(claimed->memory_mib, capacity->memory_mib, text));
    table_add(t, format_share(claimed->disk_gib, capacity->disk_gib, text));
}

static void print_hypervisors(const Harpoon__Admin__V1__ListHypervisorsReply *reply, int64_t now_ms)
{
    static const char *const headers[] = {">HYPERVISOR", "REGION",
                                          "STATUS",      "CONNECTED",
                                          ">VCPUS",      ">MEMORY MIB",
                                          ">DISK GIB",   ">CLAIMS",
                                          ">SEEN",       "NOT PLACED ON BECAUSE",
                                          NULL};
    struct table *t = table_new(headers);
    char age[24];

    for (size_t i = 0; i < reply->n_hypervisors; i++) {
        const Harpoon__Scheduler__V1__Hypervisor *h = reply->hypervisors[i];
        table_add_u64(t, h->id);
        table_add(t, h->region);
        table_add(t, status_word(h->status));
        table_add(t, h->connected ? "yes" : "no");
        add_shares(t, h->claimed, h->capacity);
        table_add_count(t, h->claims);
        table_add(t, table_format_age(h->seen_unix_ms, now_ms, age));
        table_add(t, h->not_placeable_because);
    }
    table_print(t, stdout);
    table_free(t);
}

static int list(struct session *s, const char *const *words, size_t count, struct error *err)
{
    Harpoon__Admin__V1__ListHypervisorsRequest in =
        HARPOON__ADMIN__V1__LIST_HYPERVISORS_REQUEST__INIT;
    const struct ctl_options *o = session_options(s);
    ProtobufCMessage *out = NULL;

    UNUSED(words);
    UNUSED(count);
    in.region = o->region != NULL ? o->region : in.region;
    int r = session_call(s, "ListHypervisors", &in.base, &out, err);
    if (r < 0)
        return r;
    const Harpoon__Admin__V1__ListHypervisorsReply *reply = (const void *)out;
    if (session_wants_json(s)) {
        json_t *object = json_object(), *items = json_array();
        for (size_t i = 0; i < reply->n_hypervisors; i++)
            json_array_append_new(items, describe_hypervisor(reply->hypervisors[i]));
        json_object_set_new(object, "hypervisors", items);
        describe_print(object);
    } else {
        print_hypervisors(reply, unix_ms());
    }
    session_free_answer(out);
    return EXIT_DONE;
}

/* ---- approve ---- */
static json_t *describe_ids(const uint64_t *ids, size_t count)
{
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, describe_id(ids[i]));
    return list;
}

static int print_approved(struct session *s, const Harpoon__Admin__V1__HypervisorsReply *reply)
{
    if (session_wants_json(s)) {
        json_t *object = json_object();
        json_object_set_new(object, "changed_ids",
                            describe_ids(reply->changed_ids, reply->n_changed_ids));
        json_object_set_new(object, "unknown_ids",
                            describe_ids(reply->unknown_ids, reply->n_unknown_ids));
        describe_print(object);
    } else {
        printf("%zu approved", reply->n_changed_ids);
        for (size_t i = 0; i < reply->n_changed_ids && i < 20; i++)
            printf("%s %" PRIu64, i == 0 ? ":" : ",", reply->changed_ids[i]);
        puts(reply->n_changed_ids > 20 ? ", …" : "");
    }
    for (size_t i = 0; i < reply->n_unknown_ids; i++)
        fprintf(stderr, "harpoonctl: hypervisor %" PRIu64 " is not known in that region\n",
                reply->unknown_ids[i]);
    return reply->n_unknown_ids > 0 ? EXIT_NOT_FOUND : EXIT_DONE;
}

static int approve(struct session *s, const char *const *words, size_t count, struct error *err)
{
    Harpoon__Admin__V1__HypervisorsRequest in = HARPOON__ADMIN__V1__HYPERVISORS_REQUEST__INIT;
    const struct ctl_options *o = session_options(s);
    ProtobufCMessage *out = NULL;

    if ((count > 0) == o->all_new)
        return error_set(err, ERR_INVALID, "either numbers of hypervisors, or --all-new");
    int r = command_parse_ids(words, count, "a hypervisor", &in.ids, err);
    if (r < 0)
        return r;
    in.n_ids = count;
    in.region = o->region;
    in.all_new = o->all_new;
    r = session_call(s, "ApproveHypervisors", &in.base, &out, err);
    free(in.ids);
    if (r < 0)
        return r;
    r = print_approved(s, (const void *)out);
    session_free_answer(out);
    return r;
}

/* ---- fence ---- */
static int call_fence(struct session *s, const char *method, const char *word, bool vouch,
                      struct error *err)
{
    Harpoon__Admin__V1__FenceRequest in = HARPOON__ADMIN__V1__FENCE_REQUEST__INIT;
    const struct ctl_options *o = session_options(s);
    ProtobufCMessage *out = NULL;
    int r = command_parse_id(word, "a hypervisor", &in.hypervisor_id, err);

    if (r < 0)
        return r;
    in.region = o->region;
    in.reason = o->reason;
    in.vouch = vouch;
    r = session_call(s, method, &in.base, &out, err);
    if (r < 0)
        return r;
    const Harpoon__Admin__V1__FenceReply *reply = (const void *)out;
    if (session_wants_json(s)) {
        json_t *object = json_object(), *item = json_object();
        json_object_set_new(item, "id", describe_id(in.hypervisor_id));
        json_object_set_new(item, "state", describe_text(reply->state));
        json_object_set_new(item, "events_moved", json_integer(reply->events_moved));
        json_object_set_new(object, "hypervisor", item);
        describe_print(object);
    } else {
        printf("Hypervisor %" PRIu64 " is %s; %" PRIu32 " events moved on.\n", in.hypervisor_id,
               reply->state, reply->events_moved);
    }
    session_free_answer(out);
    return EXIT_DONE;
}

static int fence(struct session *s, const char *const *words, size_t count, struct error *err)
{
    UNUSED(count);
    if (!session_options(s)->yes_powered_off)
        return error_set(err, ERR_INVALID,
                         "a fence says that nothing runs on hypervisor %.20s any more: if it does, "
                         "VMs live twice. Power it off or wipe it, then add --yes-powered-off",
                         words[0]);
    return call_fence(s, "FenceHypervisor", words[0], true, err);
}

static int unfence(struct session *s, const char *const *words, size_t count, struct error *err)
{
    UNUSED(count);
    return call_fence(s, "UnfenceHypervisor", words[0], false, err);
}

/* ---- the table ---- */
static const struct option_def list_options[] = {
    CTL_TEXT("region", region, "REGION", "Only those of this region; without it, of every one."),
    CTL_COMMON,
};
static const struct option_def approve_options[] = {
    CTL_NEEDED("region", region, "REGION", "Their region."),
    CTL_YES("all-new", all_new, "Every hypervisor of the region that is new."),
    CTL_COMMON,
};
static const struct option_def fence_options[] = {
    CTL_NEEDED("region", region, "REGION", "Its region."),
    CTL_NEEDED("reason", reason, "TEXT", "Why, for whoever looks later."),
    CTL_YES("yes-powered-off", yes_powered_off,
            "I vouch: it is powered off or wiped, nothing of ours runs there."),
    CTL_COMMON,
};
static const struct option_def unfence_options[] = {
    CTL_NEEDED("region", region, "REGION", "Its region."),
    CTL_NEEDED("reason", reason, "TEXT", "Why, for whoever looks later."),
    CTL_COMMON,
};

static const struct verb verbs[] = {
    {
        .name = "list",
        .arguments = "",
        .summary = "capacity, claims, connected or not, and why one is not placed on",
        .epilog =
            "VCPUS, MEMORY and DISK are claimed/capacity. SEEN is how long ago its agent was\n"
            "heard of.\n\n"
            "Examples:\n"
            "  harpoonctl hypervisors list --region nyc3\n"
            "  harpoonctl hypervisors list --output json |\n"
            "    jq '.hypervisors[] | select(.not_placeable_because) | .id'\n",
        .options = list_options,
        .option_count = ARRAY_LEN(list_options),
        .run = list,
    },
    {
        .name = "approve",
        .arguments = "[ID...]",
        .summary = "lets new hypervisors be placed on",
        .epilog = "A hypervisor appears as new when its agent first attaches. Asking twice has no\n"
                  "second effect. Exit code 3: some are not known.\n\n"
                  "Examples:\n"
                  "  harpoonctl hypervisors approve 1001 1002 --region nyc3\n"
                  "  harpoonctl hypervisors approve --all-new --region nyc3\n",
        .options = approve_options,
        .option_count = ARRAY_LEN(approve_options),
        .max_words = 1000,
        .run = approve,
    },
    {
        .name = "fence",
        .arguments = "ID",
        .summary = "you vouch that it is powered off or wiped: its events go on elsewhere",
        .epilog =
            "Harpoon never gives up a hypervisor by itself: one that cannot be reached may\n"
            "still run its VMs. A fence is your word that it does not. Its unfinished events\n"
            "go on elsewhere or end, and nothing is placed on it until `unfence`. Droplets\n"
            "that lived there stay listed until their customers delete them. Asking twice has\n"
            "no second effect.\n\n"
            "Examples:\n"
            "  harpoonctl hypervisors fence 1007 --region nyc3 --yes-powered-off \\\n"
            "    --reason 'power supply burnt, pulled from the rack'\n",
        .options = fence_options,
        .option_count = ARRAY_LEN(fence_options),
        .min_words = 1,
        .max_words = 1,
        .run = fence,
    },
    {
        .name = "unfence",
        .arguments = "ID",
        .summary = "takes it back, once its agent holds no job and no domain of ours",
        .epilog =
            "Allowed when its agent has attached after the fence and said that every job is\n"
            "closed and no domain is left; exit code 4 says what is missing.\n\n"
            "Examples:\n"
            "  harpoonctl hypervisors unfence 1007 --region nyc3 --reason 'new power supply'\n",
        .options = unfence_options,
        .option_count = ARRAY_LEN(unfence_options),
        .min_words = 1,
        .max_words = 1,
        .run = unfence,
    },
};

const struct noun hypervisors_noun = {
    .name = "hypervisors",
    .summary = "the machines: list, approve, fence, unfence",
    .about = "a hypervisor is a machine that runs Droplets.",
    .verbs = verbs,
    .verb_count = ARRAY_LEN(verbs),
};
