/* harpoonctl/queues.c: `harpoonctl queues list`. */
#include "harpoonctl/command.h"
#include "harpoonctl/describe.h"
#include "harpoonctl/table.h"
#include "lib/clock.h"

static json_t *describe_queue(const Harpoon__Admin__V1__QueueInfo *q)
{
    json_t *o = json_object();

    json_object_set_new(o, "name", describe_text(q->name));
    json_object_set_new(o, "region", describe_text(q->region));
    json_object_set_new(o, "pending", json_integer(q->pending));
    json_object_set_new(o, "due", json_integer(q->due));
    json_object_set_new(o, "dispatched", json_integer(q->dispatched));
    json_object_set_new(o, "running", json_integer(q->running));
    json_object_set_new(o, "oldest_at", describe_time(q->oldest_unix_ms));
    json_object_set_new(o, "taken_at", describe_time(q->taken_at_unix_ms));
    return o;
}

static void print_table(const Harpoon__Admin__V1__ListQueuesReply *reply, int64_t now_ms)
{
    static const char *const headers[] = {"QUEUE",        ">PENDING", ">DUE",
                                          ">DISPATCHED",  ">RUNNING", ">OLDEST",
                                          "OLDEST SINCE", ">TAKEN",   NULL};
    struct table *t = table_new(headers);
    char text[24];

    for (size_t i = 0; i < reply->n_queues; i++) {
        const Harpoon__Admin__V1__QueueInfo *q = reply->queues[i];
        table_add(t, q->name);
        table_add_count(t, q->pending);
        table_add_count(t, q->due);
        table_add_count(t, q->dispatched);
        table_add_count(t, q->running);
        table_add(t, table_format_age(q->oldest_unix_ms, now_ms, text));
        table_add(t, table_format_time(q->oldest_unix_ms, text));
        table_add(t, table_format_age(q->taken_at_unix_ms, now_ms, text));
    }
    table_print(t, stdout);
    table_free(t);
}

static int list(struct session *s, const char *const *words, size_t count, struct error *err)
{
    Harpoon__Admin__V1__ListQueuesRequest in = HARPOON__ADMIN__V1__LIST_QUEUES_REQUEST__INIT;
    ProtobufCMessage *out = NULL;
    int r = session_call(s, "ListQueues", &in.base, &out, err);

    UNUSED(words);
    UNUSED(count);
    if (r < 0)
        return r;
    const Harpoon__Admin__V1__ListQueuesReply *reply = (const void *)out;
    if (session_wants_json(s)) {
        json_t *object = json_object(), *queues = json_array();
        for (size_t i = 0; i < reply->n_queues; i++)
            json_array_append_new(queues, describe_queue(reply->queues[i]));
        json_object_set_new(object, "queues", queues);
        describe_print(object);
    } else {
        print_table(reply, unix_ms());
    }
    session_free_answer(out);
    return EXIT_DONE;
}

static const struct option_def list_options[] = {CTL_COMMON};
static const struct verb verbs[] = {{
    .name = "list",
    .arguments = "",
    .summary = "what waits in each queue, and since when",
    .epilog = "PENDING waits to be placed, of that DUE is to be published again; DISPATCHED and\n"
              "RUNNING are in agents' hands. OLDEST is the age of the oldest unfinished event.\n"
              "TAKEN is how far behind the workers are: a small age is good.\n\n"
              "Examples:\n"
              "  harpoonctl queues\n"
              "  harpoonctl queues --output json\n",
    .options = list_options,
    .option_count = ARRAY_LEN(list_options),
    .run = list,
}};

const struct noun queues_noun = {
    .name = "queues",
    .summary = "how much waits in each region's queues, and for how long",
    .about = "a region has two queues, one for creates and one for other actions.",
    .verbs = verbs,
    .verb_count = ARRAY_LEN(verbs),
};
