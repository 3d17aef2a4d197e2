/* Droplets: shown, deleted. Creating has a file of its own. */
#include "harpoon/store/droplets.h"

#include "harpoon/api/internal.h"
#include "harpoon/api/pages.h"

#include <stdlib.h>
#include <string.h>

#define TAGGED_PAGE  1000 /* ids read at a time */
#define DELETE_SLICE 250  /* then others get their turn */

void droplets_list_all(struct call *c)
{
    struct page page = call_page(c);
    const char *type = http_query(c->http, "type");
    struct droplet_filter filter = {
        .account = call_account(c),
        .tag = http_query(c->http, "tag_name"),
        .name = http_query(c->http, "name"),
        .offset = page_offset(&page),
        .limit = page.per_page,
    };
    struct droplet_list list = {0};
    struct error err;

    if (!call_has_catalog(c))
        return;
    if (type != NULL && strcmp(type, "gpus") == 0) { /* there are none */
        call_reply_page(c, &page, "droplets", json_array(), 0);
        return;
    }
    int r = droplets_list(c->db, &filter, &list, &err);
    reader_note(c->api, r, c->db);
    if (r < 0) {
        call_fail(c, &err);
        return;
    }
    json_t *items = json_array();
    for (size_t i = 0; i < list.count; i++)
        json_array_append_new(items, view_droplet(c->view, &list.records[i]));
    uint64_t total = list.total;
    droplet_list_clear(&list);
    call_reply_page(c, &page, "droplets", items, total);
}

void droplets_show(struct call *c)
{
    struct droplet_list list = {0};
    struct error err;
    droplet_id id;

    if (!call_id(c, 0, &id.v) || !call_has_catalog(c))
        return;
    int r = droplets_find(c->db, call_account(c), id, &list, &err);
    reader_note(c->api, r, c->db);
    if (r < 0) {
        call_fail(c, &err);
        return;
    }
    json_t *body = json_pack("{s:o}", "droplet", view_droplet(c->view, &list.records[0]));
    droplet_list_clear(&list);
    call_reply(c, 200, body);
}

/* ---- deleting ---- */
struct deleting {
    struct change change;
    droplet_id *ids; /* all; the change has a slice of them */
    size_t count, next;
    bool must_exist;
};

static void deleting_free(void *state)
{
    struct deleting *d = state;

    free(d->ids);
    free(d);
}

static void submit_slice(struct deleting *d)
{
    size_t left = d->count - d->next;

    d->change.droplets = d->ids + d->next;
    d->change.droplet_count = left < DELETE_SLICE ? left : DELETE_SLICE;
    d->next += d->change.droplet_count;
    changes_submit(d->change.call->api, &d->change);
}

static void on_deleted(struct change *change, int result, const struct error *err)
{
    struct deleting *d = (struct deleting *)change; /* its first member */

    if (result < 0)
        call_fail(change->call, err);
    else if (d->next < d->count)
        submit_slice(d);
    else if (d->must_exist && change->found == 0)
        call_not_found(change->call);
    else
        call_reply(change->call, 204, NULL);
}

/* Takes `ids` over. */
static void begin_delete(struct call *c, droplet_id *ids, size_t count, bool must_exist)
{
    struct deleting *d = calloc(1, sizeof *d);
    struct error err;

    if (d == NULL || ids == NULL) {
        free(d);
        free(ids);
        (void)error_set(&err, ERR_INTERNAL, "out of memory");
        call_fail(c, &err);
        return;
    }
    *d = (struct deleting){
        .change = {.kind = CHANGE_DELETE, .call = c, .done = on_deleted},
        .ids = ids,
        .count = count,
        .must_exist = must_exist,
    };
    c->state = d;
    c->state_free = deleting_free;
    submit_slice(d);
}

void droplets_delete(struct call *c)
{
    droplet_id id, *ids;

    if (!call_id(c, 0, &id.v))
        return;
    ids = malloc(sizeof *ids);
    if (ids != NULL)
        *ids = id;
    begin_delete(c, ids, 1, true);
}

/* Appends a page of ids behind the last one. Returns how many, or a code. */
static int64_t read_tagged(struct call *c, const char *tag, droplet_id **ids, size_t count,
                           struct error *err)
{
    droplet_id after = count > 0 ? (*ids)[count - 1] : (droplet_id){0};
    droplet_id *grown = realloc(*ids, (count + TAGGED_PAGE) * sizeof *grown);

    if (grown == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    *ids = grown;
    return droplets_tagged(c->db, call_account(c), tag, after, grown + count, TAGGED_PAGE, err);
}

void droplets_delete_tagged(struct call *c)
{
    const char *tag = http_query(c->http, "tag_name");
    droplet_id *ids = NULL;
    struct error err;
    size_t count = 0;
    int64_t n = TAGGED_PAGE;

    if (tag == NULL || *tag == 0) {
        (void)error_set(&err, ERR_INVALID, "tag_name is required.");
        call_fail(c, &err);
        return;
    }
    while (n == TAGGED_PAGE) {
        n = read_tagged(c, tag, &ids, count, &err);
        if (n > 0)
            count += (size_t)n;
    }
    reader_note(c->api, n < 0 ? (int)n : 0, c->db);
    if (n >= 0 && count > 0) {
        begin_delete(c, ids, count, false);
        return;
    }
    free(ids);
    if (n < 0)
        call_fail(c, &err);
    else
        call_reply(c, 204, NULL);
}
