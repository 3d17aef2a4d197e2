/* harpoonctl/dead.c: `harpoonctl dead list|replay`. */
#include "harpoonctl/command.h"
#include "harpoonctl/describe.h"
#include "harpoonctl/table.h"
#include "lib/clock.h"

#include <stdlib.h>

static int list(struct session *s, const char *const *words, size_t count, struct error *err)
{
    const struct ctl_options *o = session_options(s);
    Harpoon__Admin__V1__ListEventsRequest in = HARPOON__ADMIN__V1__LIST_EVENTS_REQUEST__INIT;
    ProtobufCMessage *out = NULL;

    UNUSED(words);
    UNUSED(count);
    in.dead = 1;
    in.region = o->region != NULL ? o->region : in.region;
    in.limit = (uint32_t)o->limit;
    in.before_id = (uint64_t)o->before;
    int r = session_call(s, "ListEvents", &in.base, &out, err);
    if (r < 0)
        return r;
    const Harpoon__Admin__V1__ListEventsReply *reply = (const void *)out;
    if (session_wants_json(s)) {
        json_t *object = json_object();
        json_object_set_new(object, "events", describe_events(reply->events, reply->n_events));
        describe_print(object);
    } else {
        describe_print_events(reply->events, reply->n_events, unix_ms());
    }
    session_free_answer(out);
    return EXIT_DONE;
}

static json_t *describe_replayed(const Harpoon__Admin__V1__ReplayEventsReply *reply)
{
    json_t *object = json_object(), *results = json_array();

    for (size_t i = 0; i < reply->n_results; i++) {
        json_t *o = json_object();
        json_object_set_new(o, "event_id", describe_id(reply->results[i]->event_id));
        json_object_set_new(o, "new_event_id", describe_id(reply->results[i]->new_event_id));
        json_object_set_new(o, "refused_because",
                            describe_text(reply->results[i]->refused_because));
        json_array_append_new(results, o);
    }
    json_object_set_new(object, "results", results);
    return object;
}

static void print_replayed(const Harpoon__Admin__V1__ReplayEventsReply *reply, bool dry_run)
{
    static const char *const headers[] = {">EVENT", ">NEW EVENT", "RESULT", NULL};
    struct table *t = table_new(headers);

    for (size_t i = 0; i < reply->n_results; i++) {
        const Harpoon__Admin__V1__Replayed *r = reply->results[i];
        table_add_u64(t, r->event_id);
        table_add_u64(t, r->new_event_id);
        table_add(t, r->refused_because[0] != 0 ? r->refused_because
                     : dry_run                  ? "would be replayed"
                                                : "replayed");
    }
    table_print(t, stdout);
    table_free(t);
}

static int replay(struct session *s, const char *const *words, size_t count, struct error *err)
{
    const struct ctl_options *o = session_options(s);
    Harpoon__Admin__V1__ReplayEventsRequest in = HARPOON__ADMIN__V1__REPLAY_EVENTS_REQUEST__INIT;
    ProtobufCMessage *out = NULL;
    bool refused = false;

    int r = command_parse_ids(words, count, "an event", &in.event_ids, err);
    if (r < 0)
        return r;
    in.n_event_ids = count;
    in.reason = o->reason;
    in.dry_run = o->dry_run;
    r = session_call(s, "ReplayEvents", &in.base, &out, err);
    free(in.event_ids);
    if (r < 0)
        return r;
    const Harpoon__Admin__V1__ReplayEventsReply *reply = (const void *)out;
    for (size_t i = 0; i < reply->n_results; i++)
        refused |= reply->results[i]->refused_because[0] != 0;
    if (session_wants_json(s))
        describe_print(describe_replayed(reply));
    else
        print_replayed(reply, o->dry_run);
    session_free_answer(out);
    return refused ? EXIT_CONFLICT : EXIT_DONE;
}

static const struct option_def list_options[] = {
    CTL_TEXT("region", region, "REGION", "Only those of this region."),
    {.name = "limit",
     .type = OPTION_INT,
     .offset = CTL_AT(limit),
     .default_value = "100",
     .min = 1,
     .max = 1000,
     .metavar = "N",
     .help = "The newest N at most."},
    {.name = "before",
     .type = OPTION_INT,
     .offset = CTL_AT(before),
     .min = 0,
     .max = INT64_C(9007199254740991),
     .metavar = "ID",
     .help = "Only those with a lower number: the next page."},
    CTL_COMMON,
};
static const struct option_def replay_options[] = {
    CTL_NEEDED("reason", reason, "TEXT", "Why, for whoever reads the timeline later."),
    CTL_YES("dry-run", dry_run, "Says what would happen, and does nothing."),
    CTL_COMMON,
};

static const struct verb verbs[] = {
    {
        .name = "list",
        .arguments = "",
        .summary = "events that failed and were not replayed, the newest first",
        .epilog = "REASON says why the last attempt failed; `harpoonctl events show ID` tells the\n"
                  "whole story.\n\n"
                  "Examples:\n"
                  "  harpoonctl dead list --region nyc3\n",
        .options = list_options,
        .option_count = ARRAY_LEN(list_options),
        .run = list,
    },
    {
        .name = "replay",
        .arguments = "ID...",
        .summary = "tries failed creates again, each as a new event",
        .epilog = "A create can be replayed when its Droplet was not deleted and nothing of the\n"
                  "failed attempts is left. Asking twice has no second effect. Exit code 4: some\n"
                  "were refused; the table says why.\n\n"
                  "Examples:\n"
                  "  harpoonctl dead replay 4711 4712 --reason 'rack 7 is back' --dry-run\n"
                  "  harpoonctl dead replay 4711 4712 --reason 'rack 7 is back'\n",
        .options = replay_options,
        .option_count = ARRAY_LEN(replay_options),
        .min_words = 1,
        .max_words = 1000,
        .run = replay,
    },
};

const struct noun dead_noun = {
    .name = "dead",
    .summary = "events that failed: list them, try them again",
    .about = "the dead list holds events that are out of attempts or of time.",
    .verbs = verbs,
    .verb_count = ARRAY_LEN(verbs),
};
