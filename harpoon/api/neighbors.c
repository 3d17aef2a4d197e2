/* Which droplets of an account share a hypervisor. */
#include "harpoon/api/internal.h"

#include <stdlib.h>

#define REPORT_MAX 200000 /* droplets looked at for one report */

void droplet_neighbors(struct call *c)
{
    struct droplet_list list = {0};
    struct error err;
    droplet_id id;

    if (!call_id(c, 0, &id.v) || !call_has_catalog(c))
        return;
    int r = droplets_find(c->db, call_account(c), id, &list, &err);
    if (r >= 0) {
        droplet_list_clear(&list);
        r = droplets_neighbors(c->db, call_account(c), id, &list, &err);
    }
    reader_note(c->api, r, c->db);
    if (r < 0) {
        call_fail(c, &err);
        return;
    }
    json_t *items = json_array();
    for (size_t i = 0; i < list.count; i++)
        json_array_append_new(items, view_droplet(c->view, &list.records[i]));
    droplet_list_clear(&list);
    call_reply(c, 200, json_pack("{s:o}", "droplets", items));
}

static json_t *make_groups(const struct droplet_home *homes, size_t count)
{
    json_t *groups = json_array();

    for (size_t i = 0, end; i < count; i = end) {
        for (end = i + 1; end < count && homes[end].hypervisor.v == homes[i].hypervisor.v;)
            end++;
        if (end - i < 2)
            continue;
        json_t *group = json_array();
        for (size_t k = i; k < end; k++)
            json_array_append_new(group, json_integer((json_int_t)homes[k].droplet.v));
        json_array_append_new(groups, group);
    }
    return groups;
}

void neighbors_report(struct call *c)
{
    struct droplet_home *homes = NULL;
    struct error err;

    int64_t n = droplets_homes(c->db, call_account(c), REPORT_MAX, &homes, &err);
    reader_note(c->api, n < 0 ? (int)n : 0, c->db);
    if (n < 0) {
        call_fail(c, &err);
        return;
    }
    json_t *groups = make_groups(homes, (size_t)n);
    free(homes);
    call_reply(c, 200, json_pack("{s:o}", "neighbor_ids", groups));
}
