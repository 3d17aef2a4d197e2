/* harpoonctl/droplet.c: `harpoonctl droplet explain`. */
#include "harpoonctl/command.h"
#include "harpoonctl/describe.h"
#include "harpoonctl/table.h"
#include "lib/clock.h"

#include <stdio.h>

static json_t *describe_droplet(const Harpoon__Admin__V1__ExplainDropletReply *reply)
{
    json_t *o = json_object();

    json_object_set_new(o, "id", describe_id(reply->droplet_id));
    json_object_set_new(o, "name", describe_text(reply->name));
    json_object_set_new(o, "status", describe_text(reply->status));
    json_object_set_new(o, "sentence", describe_text(reply->sentence));
    json_object_set_new(o, "waiting_for", describe_text(reply->waiting_for));
    json_object_set_new(o, "since", describe_time(reply->since_unix_ms));
    json_object_set_new(o, "next_check_at", describe_time(reply->next_check_unix_ms));
    json_object_set_new(o, "deadline_at", describe_time(reply->deadline_unix_ms));
    json_object_set_new(o, "command", describe_text(reply->command));
    return o;
}

static void print_people(const Harpoon__Admin__V1__ExplainDropletReply *reply, int64_t now_ms)
{
    char time[24], age[24];

    printf("Droplet %llu (%s): %s\n", (unsigned long long)reply->droplet_id, reply->name,
           reply->sentence);
    if (reply->deadline_unix_ms != 0)
        printf("Deadline: %s (in %s)\n", table_format_time(reply->deadline_unix_ms, time),
               table_format_age(now_ms, reply->deadline_unix_ms, age));
    if (reply->command[0] != 0)
        printf("What helps: %s\n", reply->command);
    putchar('\n');
    describe_print_events(reply->events, reply->n_events, now_ms);
    putchar('\n');
    describe_print_timeline(reply->timeline, reply->n_timeline);
}

static int explain(struct session *s, const char *const *words, size_t count, struct error *err)
{
    Harpoon__Admin__V1__ExplainDropletRequest in =
        HARPOON__ADMIN__V1__EXPLAIN_DROPLET_REQUEST__INIT;
    ProtobufCMessage *out = NULL;
    int r = command_parse_id(words[0], "a Droplet", &in.droplet_id, err);

    UNUSED(count);
    if (r == 0)
        r = session_call(s, "ExplainDroplet", &in.base, &out, err);
    if (r < 0)
        return r;
    const Harpoon__Admin__V1__ExplainDropletReply *reply = (const void *)out;
    if (session_wants_json(s)) {
        json_t *object = json_object();
        json_object_set_new(object, "droplet", describe_droplet(reply));
        json_object_set_new(object, "events", describe_events(reply->events, reply->n_events));
        json_object_set_new(object, "timeline",
                            describe_timeline(reply->timeline, reply->n_timeline));
        describe_print(object);
    } else {
        print_people(reply, unix_ms());
    }
    session_free_answer(out);
    return EXIT_DONE;
}

static const struct option_def explain_options[] = {CTL_COMMON};
static const struct verb verbs[] = {{
    .name = "explain",
    .arguments = "ID",
    .summary = "why it waits, since when, who must act, what helps; and its timeline",
    .epilog = "Examples:\n"
              "  harpoonctl droplet explain 1234\n"
              "  harpoonctl droplet explain 1234 --output json | jq -r .droplet.waiting_for\n",
    .options = explain_options,
    .option_count = ARRAY_LEN(explain_options),
    .min_words = 1,
    .max_words = 1,
    .run = explain,
}};

const struct noun droplet_noun = {
    .name = "droplet",
    .summary = "explains one Droplet: why it waits, who must act, what helps",
    .about = "a Droplet is a customer's virtual machine.",
    .verbs = verbs,
    .verb_count = ARRAY_LEN(verbs),
};
