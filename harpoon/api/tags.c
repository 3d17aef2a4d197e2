/* Tags, and what wears them. */
#include "harpoon/store/tags.h"

#include "harpoon/api/create.h"
#include "harpoon/api/internal.h"
#include "harpoon/api/json.h"
#include "harpoon/api/pages.h"
#include "harpoon/api/tagging.h"

#include <stdlib.h>
#include <string.h>

#define STRIP_SLICE 1000 /* then others get their turn */

/* False: it failed, and was answered. */
static bool check(struct call *c, int64_t result, const struct error *err)
{
    reader_note(c->api, result < 0 ? (int)result : 0, c->db);
    if (result < 0)
        call_fail(c, err);
    return result >= 0;
}

void tags_list_all(struct call *c)
{
    struct page page = call_page(c);
    struct tag_list list = {0};
    struct error err;

    if (!check(c, tags_list(c->db, call_account(c), page_offset(&page), page.per_page, &list, &err),
               &err))
        return;
    json_t *items = json_array();
    for (size_t i = 0; i < list.count; i++)
        json_array_append_new(items, view_tag(&list.tags[i]));
    uint64_t total = list.total;
    tag_list_clear(&list);
    call_reply_page(c, &page, "tags", items, total);
}

static void reply_tag(struct call *c, int status, const char *name)
{
    struct error err;
    struct tag tag;

    if (check(c, tags_find(c->db, call_account(c), name, &tag, &err), &err))
        call_reply(c, status, json_pack("{s:o}", "tag", view_tag(&tag)));
}

void tags_create(struct call *c)
{
    const char *name = NULL;
    struct error err;

    int r = json_get_text(c->body, "name", &name, &err);
    if (r == 0 || (r > 0 && !create_is_tag(name)))
        r = error_set(&err, ERR_INVALID,
                      "name must have 1 to 255 letters, digits, '_', ':' and '-'.");
    if (r >= 0)
        r = tags_add(c->db, call_account(c), name, &err);
    if (check(c, r, &err))
        reply_tag(c, 201, name);
}

/* The tag's name of the path. NULL: none can have it, and the call was answered 404. */
static const char *path_name(struct call *c)
{
    const char *name = c->match.arguments[0];

    if (create_is_tag(name))
        return name;
    call_not_found(c);
    return NULL;
}

void tags_show(struct call *c)
{
    const char *name = path_name(c);

    if (name != NULL)
        reply_tag(c, 200, name);
}

/* ---- deleting ---- */
/* A slice at a time, and back into the queue. The tag itself goes with what is left at the end. */
static void strip_slice(struct call *c)
{
    const char *name = c->match.arguments[0];
    struct error err;

    int64_t r = tags_strip(c->db, call_account(c), name, STRIP_SLICE, &err);
    if (r == STRIP_SLICE) {
        c->db = NULL;
        reader_run(c, strip_slice);
        return;
    }
    if (r >= 0)
        r = tags_remove(c->db, call_account(c), name, &err);
    if (check(c, r, &err))
        call_reply(c, 204, NULL);
}

void tags_delete(struct call *c)
{
    const char *name = path_name(c);
    struct error err;
    struct tag tag;

    if (name != NULL && check(c, tags_find(c->db, call_account(c), name, &tag, &err), &err))
        strip_slice(c);
}

/* ---- tagging ---- */
static void tag_resources(struct call *c,
                          int (*change)(struct sql *db, account_id account, const char *name,
                                        const droplet_id *droplets, size_t count,
                                        struct error *err))
{
    const char *name = path_name(c);
    droplet_id *droplets = NULL;
    size_t count = 0;
    struct error err;

    if (name == NULL)
        return;
    int r = tagging_parse(c->body, &droplets, &count, &err);
    if (r >= 0)
        r = change(c->db, call_account(c), name, droplets, count, &err);
    free(droplets);
    if (check(c, r, &err))
        call_reply(c, 204, NULL);
}

void tags_put_on(struct call *c)
{
    tag_resources(c, tags_attach);
}

void tags_take_off(struct call *c)
{
    tag_resources(c, tags_detach);
}
