/* SSH keys. */
#include "harpoon/store/keys.h"

#include "harpoon/api/internal.h"
#include "harpoon/api/json.h"
#include "harpoon/api/pages.h"
#include "harpoon/store/idempotency.h"

#include <stdlib.h>
#include <string.h>

#define NAME_MAX_BYTES 255
#define CREATED        201

void keys_list_all(struct call *c)
{
    struct page page = call_page(c);
    struct ssh_key_list list;
    struct error err;
    json_t *items = json_array();

    int r = keys_list(c->db, call_account(c), page_offset(&page), page.per_page, &list, &err);
    reader_note(c->api, r, c->db);
    if (r < 0) {
        json_decref(items);
        call_fail(c, &err);
        return;
    }
    for (size_t i = 0; i < list.count; i++)
        json_array_append_new(items, view_key(&list.keys[i]));
    call_reply_page(c, &page, "ssh_keys", items, list.total);
    ssh_key_list_clear(&list);
}

/* The key that the path names. False: it was answered. */
static bool find_key(struct call *c, struct ssh_key *ret)
{
    struct key_name name;
    struct error err;

    if (!key_name_parse(c->match.arguments[0], &name)) {
        call_not_found(c);
        return false;
    }
    int r = keys_find(c->db, call_account(c), &name, ret, &err);
    reader_note(c->api, r, c->db);
    if (r < 0)
        call_fail(c, &err);
    return r >= 0;
}

static void reply_key(struct call *c, int status, struct ssh_key *key)
{
    json_t *body = json_pack("{s:o}", "ssh_key", view_key(key));

    ssh_key_clear(key);
    call_reply(c, status, body);
}

void keys_show(struct call *c)
{
    struct ssh_key key;

    if (find_key(c, &key))
        reply_key(c, 200, &key);
}

static bool is_blank(const char *text)
{
    return text[strspn(text, " \t\r\n")] == 0;
}

static int read_name(const struct call *c, const char **ret, struct error *err)
{
    int r = json_get_text(c->body, "name", ret, err);

    if (r < 0)
        return r;
    if (r == 0 || is_blank(*ret) || strlen(*ret) > NAME_MAX_BYTES)
        return error_set(err, ERR_INVALID, "name must not be blank nor have more than %d bytes.",
                         NAME_MAX_BYTES);
    return 0;
}

/* A copy without the blanks around it: files end with a newline. */
static char *trim(const char *text)
{
    text += strspn(text, " \t\r\n");
    size_t len = strlen(text);
    while (len > 0 && strchr(" \t\r\n", text[len - 1]) != NULL)
        len--;
    return strndup(text, len);
}

static int read_key(const struct call *c, struct ssh_key *ret, struct error *err)
{
    const char *name = NULL, *text = NULL;

    int r = read_name(c, &name, err);
    if (r >= 0)
        r = json_get_text(c->body, "public_key", &text, err);
    if (r == 0)
        r = error_set(err, ERR_INVALID, "public_key is required.");
    if (r < 0)
        return r;
    ret->name = strdup(name);
    ret->public_key = trim(text);
    if (ret->name == NULL || ret->public_key == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    return key_fingerprint(ret->public_key, ret->fingerprint, err);
}

/* A key, and the answer that tells of it. */
struct adding {
    account_id account;
    struct ssh_key *key;
    struct idempotency_row answer; /* .key NULL: not stored */
};

static int add_key(struct sql *db, void *ctx, struct error *err)
{
    struct adding *a = ctx;
    int r = keys_add(db, a->account, a->key, a->key->id, err);

    return r >= 0 && a->answer.key != NULL ? idempotency_insert(db, &a->answer, 1, err) : r;
}

/* *ret is the answer, the caller's. */
static int store_key(struct call *c, struct ssh_key *key, char **ret, struct error *err)
{
    struct adding a = {.account = call_account(c), .key = key, .answer.key = once_key(c)};
    char *text = call_format(json_pack("{s:o}", "ssh_key", view_key(key)));

    if (text == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    a.answer.status = CREATED;
    a.answer.answer = text;
    int r = a.answer.key != NULL ? sql_transact(c->db, add_key, &a, err) : add_key(c->db, &a, err);
    if (r < 0)
        free(text);
    else
        *ret = text;
    return r;
}

void keys_create(struct call *c)
{
    struct ssh_key key = {0};
    struct error err;
    char *answer = NULL;

    int r = read_key(c, &key, &err);
    if (r >= 0)
        r = ids_reserve(c->api->key_ids, c->db, 1, &err);
    if (r >= 0)
        r = ids_take(c->api->key_ids, 1, &key.id, &err);
    if (r >= 0)
        r = store_key(c, &key, &answer, &err);
    reader_note(c->api, r, c->db);
    ssh_key_clear(&key);
    if (r >= 0) {
        call_reply_text(c, CREATED, answer);
        return;
    }
    if (r == ERR_CONFLICT)
        (void)error_set(&err, ERR_INVALID, "public_key: SSH Key is already in use on your account");
    once_fail(c, &err);
}

void keys_update(struct call *c)
{
    struct ssh_key key;
    struct error err;
    const char *name = NULL;

    if (!find_key(c, &key))
        return;
    int r = read_name(c, &name, &err);
    char *copy = r >= 0 ? strdup(name) : NULL;
    if (r >= 0 && copy == NULL)
        r = error_set(&err, ERR_INTERNAL, "out of memory");
    if (r >= 0)
        r = keys_rename(c->db, call_account(c), key.id, copy, &err);
    reader_note(c->api, r, c->db);
    if (r < 0) {
        free(copy);
        ssh_key_clear(&key);
        call_fail(c, &err);
        return;
    }
    free(key.name);
    key.name = copy;
    reply_key(c, 200, &key);
}

void keys_delete(struct call *c)
{
    struct ssh_key key;
    struct error err;

    if (!find_key(c, &key))
        return;
    int r = keys_remove(c->db, call_account(c), key.id, &err);
    reader_note(c->api, r, c->db);
    ssh_key_clear(&key);
    if (r < 0)
        call_fail(c, &err);
    else
        call_reply(c, 204, NULL);
}
