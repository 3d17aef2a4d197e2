/* What a droplet has beside itself: snapshots, backups and their policy, kernels, firewalls, and
 * what could be destroyed with it. Nothing makes such things so far, so the lists are empty; the
 * droplet must be there all the same. */
#include "harpoon/api/internal.h"
#include "harpoon/api/pages.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The droplet that the path names. False: it was answered. */
static bool find_droplet(struct call *c, struct droplet_list *ret)
{
    struct error err;
    droplet_id id;

    if (!call_id(c, 0, &id.v))
        return false;
    int r = droplets_find(c->db, call_account(c), id, ret, &err);
    reader_note(c->api, r, c->db);
    if (r < 0)
        call_fail(c, &err);
    return r >= 0;
}

void droplet_empty_list(struct call *c)
{
    struct droplet_list list = {0};

    if (!find_droplet(c, &list))
        return;
    droplet_list_clear(&list);
    empty_list(c);
}

void droplet_associated(struct call *c)
{
    struct droplet_list list = {0};

    if (!find_droplet(c, &list))
        return;
    droplet_list_clear(&list);
    call_reply(c, 200,
               json_pack("{s:[], s:[], s:[], s:[], s:[]}", "reserved_ips", "floating_ips",
                         "snapshots", "volumes", "volume_snapshots"));
}

void droplet_policy(struct call *c)
{
    struct droplet_list list = {0};

    if (!find_droplet(c, &list))
        return;
    json_t *policy = view_backup_policy(&list.records[0]);
    droplet_list_clear(&list);
    call_reply(c, 200, json_pack("{s:o}", "policy", policy));
}

/* An object by droplet, unlike all other lists. */
void policies_list(struct call *c)
{
    struct page page = call_page(c);
    struct droplet_filter filter = {
        .account = call_account(c),
        .offset = page_offset(&page),
        .limit = page.per_page,
    };
    struct droplet_list list = {0};
    struct error err;

    int r = droplets_list(c->db, &filter, &list, &err);
    reader_note(c->api, r, c->db);
    if (r < 0) {
        call_fail(c, &err);
        return;
    }
    json_t *policies = json_object();
    for (size_t i = 0; i < list.count; i++) {
        char key[24];
        (void)snprintf(key, sizeof key, "%" PRIu64, list.records[i].id.v);
        json_object_set_new(policies, key, view_backup_policy(&list.records[i]));
    }
    uint64_t total = list.total;
    droplet_list_clear(&list);
    call_reply_page(c, &page, "policies", policies, total);
}

void policies_supported(struct call *c)
{
    call_reply(c, 200, json_pack("{s:[]}", "supported_policies"));
}
