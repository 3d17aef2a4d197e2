/* harpoon/api/admin_tenants.c: CreateAccount, ListAccounts, CreateToken, ListTokens, RevokeToken.
 */
#include "harpoon/api/admin_internal.h"
#include "harpoon/store/tenants.h"
#include "lib/clock.h"
#include "lib/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE = 100, TEXT_MAX = 255 };

/* What a line of a table or a log could not show, nobody needs in a name. */
static int check_text(const char *what, const char *text, struct error *err)
{
    if (strlen(text) > TEXT_MAX)
        return error_set(err, ERR_INVALID, "%s has more than %d bytes", what, TEXT_MAX);
    for (const char *p = text; *p != 0; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            return error_set(err, ERR_INVALID, "%s has control characters", what);
    return 0;
}

static size_t page_size(uint32_t asked)
{
    return asked == 0 ? PAGE : asked > TENANTS_PAGE_MAX ? TENANTS_PAGE_MAX : asked;
}

/* ---- accounts ---- */
static void fill_account(struct account_record *from, Harpoon__Admin__V1__AccountInfo *ret)
{
    *ret = (Harpoon__Admin__V1__AccountInfo)HARPOON__ADMIN__V1__ACCOUNT_INFO__INIT;
    ret->id = from->account.id.v;
    ret->uuid = from->account.uuid;
    ret->email = from->account.email;
    ret->name = from->account.name;
    ret->droplet_limit = from->account.droplet_limit;
    ret->droplets = from->droplets;
    ret->rate_limited = from->account.rate_limited;
    ret->created_unix_ms = from->created_ms;
}

static int make_account(struct sql *db, const Harpoon__Admin__V1__CreateAccountRequest *in,
                        account_id *ret, struct error *err)
{
    struct account account = {.droplet_limit = in->droplet_limit,
                              .rate_limited = !in->no_rate_limit};
    const char *name = in->name[0] != 0 ? in->name : in->email;

    if (strchr(in->email, '@') == NULL)
        return error_set(err, ERR_INVALID, "\"%.80s\" is no email address", in->email);
    int r = check_text("the email address", in->email, err);
    if (r == 0)
        r = check_text("the name", name, err);
    if (r < 0)
        return r;
    (void)snprintf(account.email, sizeof account.email, "%s", in->email);
    (void)snprintf(account.name, sizeof account.name, "%s", name);
    r = accounts_create(db, &account, err);
    if (r == 0)
        return error_set(err, ERR_CONFLICT, "account %" PRIu64 " has this email address",
                         account.id.v);
    *ret = account.id;
    return r < 0 ? r : 0;
}

int admin_create_account_call(struct admin_call *c, struct error *err)
{
    Harpoon__Admin__V1__CreateAccountReply out = HARPOON__ADMIN__V1__CREATE_ACCOUNT_REPLY__INIT;
    Harpoon__Admin__V1__AccountInfo info;
    struct account_record record;
    account_id id = {0};

    int r = make_account(c->db, (const void *)c->in, &id, err);
    if (r == 0)
        r = accounts_find(c->db, id, &record, err);
    if (r < 0)
        return r;
    log_info("account created", F_U64("account", id.v));
    fill_account(&record, &info);
    out.account = &info;
    rpc_reply(c->rpc, &out.base);
    return 0;
}

int admin_list_accounts_call(struct admin_call *c, struct error *err)
{
    const Harpoon__Admin__V1__ListAccountsRequest *in = (const void *)c->in;
    Harpoon__Admin__V1__ListAccountsReply out = HARPOON__ADMIN__V1__LIST_ACCOUNTS_REPLY__INIT;
    size_t limit = page_size(in->limit);
    struct account_record *records = calloc(limit, sizeof *records);
    Harpoon__Admin__V1__AccountInfo *infos = calloc(limit, sizeof *infos),
                                    **list = calloc(limit, sizeof *list);
    int64_t n = records != NULL && infos != NULL && list != NULL
                    ? accounts_list(c->db, in->after_id, limit, records, err)
                    : error_set(err, ERR_INTERNAL, "out of memory");

    for (int64_t i = 0; i < n; i++) {
        fill_account(&records[i], &infos[i]);
        list[i] = &infos[i];
    }
    if (n >= 0) {
        out.accounts = list;
        out.n_accounts = (size_t)n;
        rpc_reply(c->rpc, &out.base);
    }
    free(list);
    free(infos);
    free(records);
    return n < 0 ? (int)n : 0;
}

/* ---- tokens ---- */
static void fill_token(struct token_record *from, Harpoon__Admin__V1__TokenInfo *ret)
{
    *ret = (Harpoon__Admin__V1__TokenInfo)HARPOON__ADMIN__V1__TOKEN_INFO__INIT;
    ret->id = from->id;
    ret->account_id = from->account.v;
    ret->name = from->name;
    ret->read_only = from->read_only;
    ret->created_unix_ms = from->created_ms;
    ret->expires_unix_ms = from->expires_ms;
    ret->revoked_unix_ms = from->revoked_ms;
    ret->used_unix_ms = from->used_ms;
}

static int make_token(struct sql *db, const Harpoon__Admin__V1__CreateTokenRequest *in,
                      uint64_t *ret, char text[TOKEN_TEXT], struct error *err)
{
    struct token_order order = {
        .account.v = in->account_id,
        .email = in->email,
        .name = in->name,
        .read_only = in->read_only,
        .expires_at_ms = in->expires_in_s != 0 ? unix_ms() + (int64_t)in->expires_in_s * 1000 : 0,
        .ret_id = ret,
    };

    if ((in->account_id == 0) == (in->email[0] == 0))
        return error_set(err, ERR_INVALID, "whose token: either an account or an email address");
    int r = check_text("the name", in->name, err);
    return r < 0 ? r : tokens_create(db, &order, text, err);
}

int admin_create_token_call(struct admin_call *c, struct error *err)
{
    Harpoon__Admin__V1__CreateTokenReply out = HARPOON__ADMIN__V1__CREATE_TOKEN_REPLY__INIT;
    Harpoon__Admin__V1__TokenInfo info;
    struct token_record record;
    char text[TOKEN_TEXT] = "";
    uint64_t id = 0;

    int r = make_token(c->db, (const void *)c->in, &id, text, err);
    if (r == 0)
        r = tokens_show(c->db, id, &record, err);
    if (r == 0) {
        log_info("token created", F_U64("token", id), F_U64("account", record.account.v));
        fill_token(&record, &info);
        out.token = &info;
        out.text = text;
        rpc_reply(c->rpc, &out.base);
    }
    explicit_bzero(text, sizeof text);
    return r;
}

int admin_list_tokens_call(struct admin_call *c, struct error *err)
{
    const Harpoon__Admin__V1__ListTokensRequest *in = (const void *)c->in;
    Harpoon__Admin__V1__ListTokensReply out = HARPOON__ADMIN__V1__LIST_TOKENS_REPLY__INIT;
    size_t limit = page_size(in->limit);
    struct token_record *records = calloc(limit, sizeof *records);
    Harpoon__Admin__V1__TokenInfo *infos = calloc(limit, sizeof *infos),
                                  **list = calloc(limit, sizeof *list);
    int64_t n =
        records != NULL && infos != NULL && list != NULL
            ? tokens_list(c->db, (account_id){in->account_id}, in->after_id, limit, records, err)
            : error_set(err, ERR_INTERNAL, "out of memory");

    for (int64_t i = 0; i < n; i++) {
        fill_token(&records[i], &infos[i]);
        list[i] = &infos[i];
    }
    if (n >= 0) {
        out.tokens = list;
        out.n_tokens = (size_t)n;
        rpc_reply(c->rpc, &out.base);
    }
    free(list);
    free(infos);
    free(records);
    return n < 0 ? (int)n : 0;
}

int admin_revoke_token_call(struct admin_call *c, struct error *err)
{
    const Harpoon__Admin__V1__RevokeTokenRequest *in = (const void *)c->in;
    Harpoon__Admin__V1__RevokeTokenReply out = HARPOON__ADMIN__V1__REVOKE_TOKEN_REPLY__INIT;
    Harpoon__Admin__V1__TokenInfo info;
    struct token_record record;

    int r = tokens_revoke(c->db, in->token_id, unix_ms(), &record, err);
    if (r < 0)
        return r;
    log_info("token revoked", F_U64("token", record.id), F_U64("account", record.account.v));
    fill_token(&record, &info);
    out.token = &info;
    rpc_reply(c->rpc, &out.base);
    return 0;
}
