/* harpoonctl/events.c: `harpoonctl events list|show|cancel`. */
#include "harpoonctl/command.h"
#include "harpoonctl/describe.h"
#include "lib/clock.h"

#include <stdio.h>

static int list(struct session *s, const char *const *words, size_t count, struct error *err)
{
    const struct ctl_options *o = session_options(s);
    Harpoon__Admin__V1__ListEventsRequest in = HARPOON__ADMIN__V1__LIST_EVENTS_REQUEST__INIT;
    ProtobufCMessage *out = NULL;

    UNUSED(words);
    UNUSED(count);
    in.state = o->state != NULL ? o->state : in.state;
    in.type = o->type != NULL ? o->type : in.type;
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
        if (reply->n_events == (size_t)o->limit)
            fprintf(stderr, "There may be more: --before %llu\n",
                    (unsigned long long)reply->events[reply->n_events - 1]->id);
    }
    session_free_answer(out);
    return EXIT_DONE;
}

static int show(struct session *s, const char *const *words, size_t count, struct error *err)
{
    Harpoon__Admin__V1__ShowEventRequest in = HARPOON__ADMIN__V1__SHOW_EVENT_REQUEST__INIT;
    ProtobufCMessage *out = NULL;
    int r = command_parse_id(words[0], "an event", &in.event_id, err);

    UNUSED(count);
    if (r == 0)
        r = session_call(s, "ShowEvent", &in.base, &out, err);
    if (r < 0)
        return r;
    const Harpoon__Admin__V1__ShowEventReply *reply = (const void *)out;
    if (session_wants_json(s)) {
        json_t *object = json_object();
        json_object_set_new(object, "event", describe_event(reply->event));
        json_object_set_new(object, "timeline",
                            describe_timeline(reply->timeline, reply->n_timeline));
        describe_print(object);
    } else {
        printf("Event %llu\n", (unsigned long long)reply->event->id);
        describe_print_event(reply->event, unix_ms());
        putchar('\n');
        describe_print_timeline(reply->timeline, reply->n_timeline);
    }
    session_free_answer(out);
    return EXIT_DONE;
}

static int cancel(struct session *s, const char *const *words, size_t count, struct error *err)
{
    Harpoon__Admin__V1__CancelEventRequest in = HARPOON__ADMIN__V1__CANCEL_EVENT_REQUEST__INIT;
    ProtobufCMessage *out = NULL;
    int r = command_parse_id(words[0], "an event", &in.event_id, err);

    UNUSED(count);
    in.reason = session_options(s)->reason;
    if (r == 0)
        r = session_call(s, "CancelEvent", &in.base, &out, err);
    if (r < 0)
        return r;
    const Harpoon__Admin__V1__CancelEventReply *reply = (const void *)out;
    if (session_wants_json(s)) {
        json_t *object = json_object();
        json_object_set_new(object, "event", describe_event(reply->event));
        describe_print(object);
    } else {
        printf("Event %llu is %s.\n", (unsigned long long)reply->event->id, reply->event->state);
    }
    session_free_answer(out);
    return EXIT_DONE;
}

static const struct option_def list_options[] = {
    {.name = "state",
     .type = OPTION_STRING,
     .offset = CTL_AT(state),
     .choices = "pending|dispatched|running|succeeded|failed|cancelled|all",
     .metavar = "STATE",
     .help = "Only those in this state; without it, all that are unfinished."},
    {.name = "type",
     .type = OPTION_STRING,
     .offset = CTL_AT(type),
     .choices = "create|destroy|cleanup",
     .metavar = "TYPE",
     .help = "Only those of this type."},
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
static const struct option_def show_options[] = {CTL_COMMON};
static const struct option_def cancel_options[] = {
    CTL_NEEDED("reason", reason, "TEXT", "Why, for whoever reads the timeline later."),
    CTL_COMMON,
};

static const struct verb verbs[] = {
    {
        .name = "list",
        .arguments = "",
        .summary = "events, the newest first; without options the unfinished ones",
        .epilog = "An event is pending (to be placed), dispatched (in an agent's hands), running,\n"
                  "or over: succeeded, failed, cancelled. REASON says what it waits for.\n\n"
                  "Examples:\n"
                  "  harpoonctl events list\n"
                  "  harpoonctl events list --state failed --region nyc3 --limit 20\n"
                  "  harpoonctl events list --output json | jq '.events[] | .id'\n",
        .options = list_options,
        .option_count = ARRAY_LEN(list_options),
        .run = list,
    },
    {
        .name = "show",
        .arguments = "ID",
        .summary = "one event and its timeline: what happened, when, by whom",
        .epilog = "Examples:\n"
                  "  harpoonctl events show 4711\n",
        .options = show_options,
        .option_count = ARRAY_LEN(show_options),
        .min_words = 1,
        .max_words = 1,
        .run = show,
    },
    {
        .name = "cancel",
        .arguments = "ID",
        .summary = "ends a pending create; what an agent holds goes on",
        .epilog =
            "Only a pending create can be cancelled: nothing of it exists yet. To end another,\n"
            "delete its Droplet. Exit code 4: it is in an agent's hands, or over.\n\n"
            "Examples:\n"
            "  harpoonctl events cancel 4711 --reason 'asked for by mistake, ticket 12'\n",
        .options = cancel_options,
        .option_count = ARRAY_LEN(cancel_options),
        .min_words = 1,
        .max_words = 1,
        .run = cancel,
    },
};

const struct noun events_noun = {
    .name = "events",
    .summary = "what Harpoon is doing: list, show with the timeline, cancel",
    .about = "an event is the work behind what a customer asked for.",
    .verbs = verbs,
    .verb_count = ARRAY_LEN(verbs),
};
