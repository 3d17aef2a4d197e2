/* harpoonctl/token.c: `harpoonctl token create|list|revoke`. */
#include "harpoonctl/command.h"
#include "harpoonctl/describe.h"
#include "harpoonctl/table.h"
#include "lib/clock.h"

#include <inttypes.h>
#include <stdlib.h>

static json_t *describe_token(const Harpoon__Admin__V1__TokenInfo *t)
{
    json_t *o = json_object();

    json_object_set_new(o, "id", describe_id(t->id));
    json_object_set_new(o, "account_id", describe_id(t->account_id));
    json_object_set_new(o, "name", describe_text(t->name));
    json_object_set_new(o, "read_only", json_boolean(t->read_only));
    json_object_set_new(o, "created_at", describe_time(t->created_unix_ms));
    json_object_set_new(o, "expires_at", describe_time(t->expires_unix_ms));
    json_object_set_new(o, "revoked_at", describe_time(t->revoked_unix_ms));
    json_object_set_new(o, "used_at", describe_time(t->used_unix_ms));
    return o;
}

static const char *state_of(const Harpoon__Admin__V1__TokenInfo *t, int64_t now_ms)
{
    if (t->revoked_unix_ms != 0)
        return "revoked";
    return t->expires_unix_ms != 0 && t->expires_unix_ms <= now_ms ? "expired" : "holds";
}

static void print_tokens(Harpoon__Admin__V1__TokenInfo *const *tokens, size_t count, int64_t now_ms)
{
    static const char *const headers[] = {">ID",     ">ACCOUNT", "NAME",      "MAY", "STATE",
                                          "CREATED", "EXPIRES",  "LAST USED", NULL};
    struct table *t = table_new(headers);
    char text[24];

    for (size_t i = 0; i < count; i++) {
        const Harpoon__Admin__V1__TokenInfo *k = tokens[i];
        table_add_u64(t, k->id);
        table_add_u64(t, k->account_id);
        table_add(t, k->name);
        table_add(t, k->read_only ? "read" : "all");
        table_add(t, state_of(k, now_ms));
        table_add(t, table_format_time(k->created_unix_ms, text));
        table_add(t, table_format_time(k->expires_unix_ms, text));
        table_add(t, table_format_time(k->used_unix_ms, text));
        table_end_row(t);
    }
    table_print(t, stdout);
    table_free(t);
}

static void print_one(const struct session *s, Harpoon__Admin__V1__TokenInfo *token,
                      const char *text)
{
    if (session_wants_json(s)) {
        json_t *object = json_object();
        json_object_set_new(object, "token", describe_token(token));
        if (text != NULL)
            json_object_set_new(object, "text", describe_text(text));
        describe_print(object);
    } else if (text != NULL) {
        printf("%s\n", text);
        fprintf(stderr,
                "This is token %" PRIu64 " of account %" PRIu64 "; it is not shown again.\n",
                token->id, token->account_id);
    } else {
        print_tokens(&token, 1, unix_ms());
    }
}

/* "90d", "12h", "30m", "45s". */
static int parse_duration(const char *text, uint32_t *ret, struct error *err)
{
    static const struct {
        char letter;
        uint64_t seconds;
    } units[] = {{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};
    char *end = NULL;
    uint64_t n = text[0] >= '0' && text[0] <= '9' ? strtoul(text, &end, 10) : 0;

    for (size_t i = 0; i < ARRAY_LEN(units) && n > 0; i++) {
        if (end[0] != units[i].letter || end[1] != 0 || n > UINT32_MAX / units[i].seconds)
            continue;
        *ret = (uint32_t)(n * units[i].seconds);
        return 0;
    }
    return error_set(err, ERR_INVALID, "\"%.40s\" is no time: write 90d, 12h, 30m or 45s", text);
}

static int create(struct session *s, const char *const *words, size_t count, struct error *err)
{
    const struct ctl_options *o = session_options(s);
    Harpoon__Admin__V1__CreateTokenRequest in = HARPOON__ADMIN__V1__CREATE_TOKEN_REQUEST__INIT;
    ProtobufCMessage *out = NULL;
    int r = 0;

    UNUSED(words);
    UNUSED(count);
    if ((o->account == 0) == (o->email == NULL))
        return error_set(err, ERR_INVALID, "whose token: either --account or --email");
    if (o->expires != NULL)
        r = parse_duration(o->expires, &in.expires_in_s, err);
    if (r < 0)
        return r;
    in.account_id = (uint64_t)o->account;
    in.email = o->email != NULL ? o->email : in.email;
    in.name = o->name != NULL ? o->name : in.name;
    in.read_only = o->read_only;
    r = session_call(s, "CreateToken", &in.base, &out, err);
    if (r < 0)
        return r;
    const Harpoon__Admin__V1__CreateTokenReply *reply = (const void *)out;
    print_one(s, reply->token, reply->text);
    session_free_answer(out);
    return EXIT_DONE;
}

static int list(struct session *s, const char *const *words, size_t count, struct error *err)
{
    const struct ctl_options *o = session_options(s);
    Harpoon__Admin__V1__ListTokensRequest in = HARPOON__ADMIN__V1__LIST_TOKENS_REQUEST__INIT;
    ProtobufCMessage *out = NULL;

    UNUSED(words);
    UNUSED(count);
    in.account_id = (uint64_t)o->account;
    in.after_id = (uint64_t)o->after;
    in.limit = (uint32_t)o->limit;
    int r = session_call(s, "ListTokens", &in.base, &out, err);
    if (r < 0)
        return r;
    const Harpoon__Admin__V1__ListTokensReply *reply = (const void *)out;
    if (session_wants_json(s)) {
        json_t *object = json_object(), *tokens = json_array();
        for (size_t i = 0; i < reply->n_tokens; i++)
            json_array_append_new(tokens, describe_token(reply->tokens[i]));
        json_object_set_new(object, "tokens", tokens);
        describe_print(object);
    } else {
        print_tokens(reply->tokens, reply->n_tokens, unix_ms());
        if (reply->n_tokens == in.limit)
            printf("There may be more: --after %" PRIu64 "\n",
                   reply->tokens[reply->n_tokens - 1]->id);
    }
    session_free_answer(out);
    return EXIT_DONE;
}

static int revoke(struct session *s, const char *const *words, size_t count, struct error *err)
{
    Harpoon__Admin__V1__RevokeTokenRequest in = HARPOON__ADMIN__V1__REVOKE_TOKEN_REQUEST__INIT;
    ProtobufCMessage *out = NULL;
    int r = command_parse_id(words[0], "a token", &in.token_id, err);

    UNUSED(count);
    if (r == 0)
        r = session_call(s, "RevokeToken", &in.base, &out, err);
    if (r < 0)
        return r;
    print_one(s, ((const Harpoon__Admin__V1__RevokeTokenReply *)(const void *)out)->token, NULL);
    session_free_answer(out);
    return EXIT_DONE;
}

#define ACCOUNT(text)                                                                              \
    {                                                                                              \
        .name = "account", .type = OPTION_INT, .offset = CTL_AT(account), .min = 1,                \
        .max = INT64_C(9007199254740991), .metavar = "ID", .help = (text)                          \
    }
static const struct option_def create_options[] = {
    ACCOUNT("Whose it is, by number."),
    CTL_TEXT("email", email, "ADDRESS", "Whose it is, by the account's address."),
    CTL_TEXT("name", name, "TEXT", "What it is for, to tell it from others."),
    CTL_YES("read-only", read_only, "It may look, and change nothing."),
    CTL_TEXT("expires", expires, "TIME", "It holds so long: 90d, 12h, 30m, 45s; else for ever."),
    CTL_COMMON,
};
static const struct option_def list_options[] = {
    ACCOUNT("Only those of this account."),
    CTL_PAGE,
    CTL_COMMON,
};
static const struct option_def revoke_options[] = {CTL_COMMON};

static const struct verb verbs[] = {
    {
        .name = "create",
        .arguments = "",
        .summary = "makes a token and prints it, this once",
        .epilog = "Only a hash of it is stored: who loses it makes another.\n\n"
                  "Examples:\n"
                  "  harpoonctl token create --email ops@example.com --name laptop --expires 90d\n"
                  "  harpoonctl token create --account 7 --name dashboard --read-only\n",
        .options = create_options,
        .option_count = ARRAY_LEN(create_options),
        .run = create,
    },
    {
        .name = "list",
        .arguments = "",
        .summary = "which there are, and when each was used last",
        .epilog = "LAST USED is right to about a minute.\n\n"
                  "Examples:\n"
                  "  harpoonctl token list --account 7\n",
        .options = list_options,
        .option_count = ARRAY_LEN(list_options),
        .run = list,
    },
    {
        .name = "revoke",
        .arguments = "ID",
        .summary = "ends a token: within 5 seconds nobody gets in with it",
        .epilog = "It cannot be undone; asking twice has no second effect.\n\n"
                  "Examples:\n"
                  "  harpoonctl token revoke 12\n",
        .options = revoke_options,
        .option_count = ARRAY_LEN(revoke_options),
        .min_words = 1,
        .max_words = 1,
        .run = revoke,
    },
};

const struct noun token_noun = {
    .name = "token",
    .summary = "what customers' programs sign in with: make, list, revoke",
    .about = "a token speaks for an account at the public API.",
    .verbs = verbs,
    .verb_count = ARRAY_LEN(verbs),
};
