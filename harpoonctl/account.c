/* harpoonctl/account.c: `harpoonctl account create|list`. */
#include "harpoonctl/command.h"
#include "harpoonctl/describe.h"
#include "harpoonctl/table.h"

#include <inttypes.h>

static json_t *describe_account(const Harpoon__Admin__V1__AccountInfo *a)
{
    json_t *o = json_object();

    json_object_set_new(o, "id", describe_id(a->id));
    json_object_set_new(o, "uuid", describe_text(a->uuid));
    json_object_set_new(o, "email", describe_text(a->email));
    json_object_set_new(o, "name", describe_text(a->name));
    json_object_set_new(o, "droplet_limit", describe_id(a->droplet_limit));
    json_object_set_new(o, "droplets", json_integer(a->droplets));
    json_object_set_new(o, "rate_limited", json_boolean(a->rate_limited));
    json_object_set_new(o, "created_at", describe_time(a->created_unix_ms));
    return o;
}

static void print_accounts(Harpoon__Admin__V1__AccountInfo *const *accounts, size_t count)
{
    static const char *const headers[] = {">ID",    "EMAIL",        "NAME",    ">DROPLETS",
                                          ">LIMIT", "RATE LIMITED", "CREATED", NULL};
    struct table *t = table_new(headers);
    char text[24];

    for (size_t i = 0; i < count; i++) {
        const Harpoon__Admin__V1__AccountInfo *a = accounts[i];
        table_add_u64(t, a->id);
        table_add(t, a->email);
        table_add(t, a->name);
        table_add_count(t, a->droplets);
        table_add_u64(t, a->droplet_limit);
        table_add(t, a->rate_limited ? "yes" : "no");
        table_add(t, table_format_time(a->created_unix_ms, text));
        table_end_row(t);
    }
    table_print(t, stdout);
    table_free(t);
}

static int create(struct session *s, const char *const *words, size_t count, struct error *err)
{
    const struct ctl_options *o = session_options(s);
    Harpoon__Admin__V1__CreateAccountRequest in = HARPOON__ADMIN__V1__CREATE_ACCOUNT_REQUEST__INIT;
    ProtobufCMessage *out = NULL;

    UNUSED(words);
    UNUSED(count);
    in.email = o->email;
    in.name = o->name != NULL ? o->name : in.name;
    in.droplet_limit = (uint32_t)o->droplet_limit;
    in.no_rate_limit = o->no_rate_limit;
    int r = session_call(s, "CreateAccount", &in.base, &out, err);
    if (r < 0)
        return r;
    const Harpoon__Admin__V1__CreateAccountReply *reply = (const void *)out;
    if (session_wants_json(s)) {
        json_t *object = json_object();
        json_object_set_new(object, "account", describe_account(reply->account));
        describe_print(object);
    } else {
        print_accounts(&reply->account, 1);
    }
    session_free_answer(out);
    return EXIT_DONE;
}

static int list(struct session *s, const char *const *words, size_t count, struct error *err)
{
    const struct ctl_options *o = session_options(s);
    Harpoon__Admin__V1__ListAccountsRequest in = HARPOON__ADMIN__V1__LIST_ACCOUNTS_REQUEST__INIT;
    ProtobufCMessage *out = NULL;

    UNUSED(words);
    UNUSED(count);
    in.after_id = (uint64_t)o->after;
    in.limit = (uint32_t)o->limit;
    int r = session_call(s, "ListAccounts", &in.base, &out, err);
    if (r < 0)
        return r;
    const Harpoon__Admin__V1__ListAccountsReply *reply = (const void *)out;
    if (session_wants_json(s)) {
        json_t *object = json_object(), *accounts = json_array();
        for (size_t i = 0; i < reply->n_accounts; i++)
            json_array_append_new(accounts, describe_account(reply->accounts[i]));
        json_object_set_new(object, "accounts", accounts);
        describe_print(object);
    } else {
        print_accounts(reply->accounts, reply->n_accounts);
        if (reply->n_accounts == in.limit)
            printf("There may be more: --after %" PRIu64 "\n",
                   reply->accounts[reply->n_accounts - 1]->id);
    }
    session_free_answer(out);
    return EXIT_DONE;
}

static const struct option_def create_options[] = {
    CTL_NEEDED("email", email, "ADDRESS", "Of the customer; no two accounts have the same."),
    CTL_TEXT("name", name, "TEXT", "What to call the customer; the address when not given."),
    {.name = "droplet-limit",
     .type = OPTION_INT,
     .offset = CTL_AT(droplet_limit),
     .default_value = "25",
     .min = 0,
     .max = 1000000,
     .metavar = "N",
     .help = "So many Droplets at a time; 0: no limit."},
    CTL_YES("no-rate-limit", no_rate_limit, "Its requests are not limited, e.g. a cloud UI's."),
    CTL_COMMON,
};
static const struct option_def list_options[] = {CTL_PAGE, CTL_COMMON};

static const struct verb verbs[] = {
    {
        .name = "create",
        .arguments = "",
        .summary = "makes an account; its tokens are made by `token create`",
        .epilog = "Exit code 4: there is an account with this address.\n\n"
                  "Examples:\n"
                  "  harpoonctl account create --email ops@example.com --droplet-limit 100\n"
                  "  harpoonctl token create --email ops@example.com --name laptop\n",
        .options = create_options,
        .option_count = ARRAY_LEN(create_options),
        .run = create,
    },
    {
        .name = "list",
        .arguments = "",
        .summary = "who they are, and how many Droplets each has",
        .epilog = "Examples:\n"
                  "  harpoonctl account list\n"
                  "  harpoonctl account list --output json | jq '.accounts[].email'\n",
        .options = list_options,
        .option_count = ARRAY_LEN(list_options),
        .run = list,
    },
};

const struct noun account_noun = {
    .name = "account",
    .summary = "customers: make one, list them",
    .about = "an account owns Droplets, keys and images, and sees nobody else's.",
    .verbs = verbs,
    .verb_count = ARRAY_LEN(verbs),
};
