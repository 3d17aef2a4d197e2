/* Actions: what customers see of events. */
#include "harpoon/store/actions.h"

#include "harpoon/api/internal.h"
#include "harpoon/api/pages.h"

#include <stdlib.h>

static void reply_list(struct call *c, droplet_id droplet)
{
    struct page page = call_page(c);
    struct error err;

    if (!call_has_catalog(c))
        return;
    struct action_list *list = malloc(sizeof *list);
    int r = list != NULL ? actions_list(c->db, call_account(c), droplet, page_offset(&page),
                                        page.per_page, list, &err)
                         : error_set(&err, ERR_INTERNAL, "out of memory");
    reader_note(c->api, r, c->db);
    if (r < 0) {
        free(list);
        call_fail(c, &err);
        return;
    }
    json_t *items = json_array();
    for (size_t i = 0; i < list->count; i++)
        json_array_append_new(items, view_action(c->view, &list->records[i]));
    uint64_t total = list->total;
    free(list);
    call_reply_page(c, &page, "actions", items, total);
}

static void reply_one(struct call *c, droplet_id droplet, event_id id)
{
    struct action_record record;
    struct error err;

    if (!call_has_catalog(c))
        return;
    int r = actions_find(c->db, call_account(c), droplet, id, &record, &err);
    reader_note(c->api, r, c->db);
    if (r < 0)
        call_fail(c, &err);
    else
        call_reply(c, 200, json_pack("{s:o}", "action", view_action(c->view, &record)));
}

void actions_list_all(struct call *c)
{
    reply_list(c, (droplet_id){0});
}

void actions_show(struct call *c)
{
    event_id id;

    if (call_id(c, 0, &id.v))
        reply_one(c, (droplet_id){0}, id);
}

/* They live on when the droplet is deleted. */
void droplet_actions_list(struct call *c)
{
    droplet_id droplet;
    struct error err;

    if (!call_id(c, 0, &droplet.v))
        return;
    int r = droplets_was_there(c->db, call_account(c), droplet, &err);
    reader_note(c->api, r, c->db);
    if (r < 0)
        call_fail(c, &err);
    else if (r == 0)
        call_not_found(c);
    else
        reply_list(c, droplet);
}

void droplet_actions_show(struct call *c)
{
    droplet_id droplet;
    event_id id;

    if (call_id(c, 0, &droplet.v) && call_id(c, 1, &id.v))
        reply_one(c, droplet, id);
}
