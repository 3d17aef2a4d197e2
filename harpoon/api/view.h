/* harpoon/api/view.h: rows as the public API shows them. Objects of the catalogue are made once for
 * a snapshot and shared. Pure. Threads: any. Each json_t is the caller's. */
#pragma once

#include "harpoon/store/actions.h"
#include "harpoon/store/catalog.h"
#include "harpoon/store/droplets.h"
#include "harpoon/store/keys.h"
#include "harpoon/store/tags.h"
#include "harpoon/store/tokens.h"

#include <jansson.h>
#include <stdbool.h>

/* A snapshot of the catalogue and its objects, in the order of its lists. */
struct view {
    int references; /* atomic */
    struct catalog *catalog;
    json_t **regions, **sizes, **images;
};

/* Takes `catalog` over. NULL: no memory. */
struct view *view_new(struct catalog *catalog);
struct view *view_ref(struct view *v);
void view_unref(struct view *v); /* NULL is fine */
static inline __attribute__((unused)) void auto_view_unref(struct view **v)
{
    view_unref(*v);
}

/* `text`, or as much of it as is whole UTF-8. */
json_t *view_text(const char *text);
/* RFC 3339; null for 0. */
json_t *view_time(int64_t unix_ms);

json_t *view_region(const struct view *v, const char *slug); /* null: no such one */
json_t *view_size(const struct view *v, const char *slug);
json_t *view_image(const struct view *v, uint64_t id);
json_t *view_droplet(const struct view *v, const struct droplet_record *d);
json_t *view_action(const struct view *v, const struct action_record *a);
json_t *view_key(const struct ssh_key *k);
json_t *view_account(const struct account *a);
json_t *view_tag(const struct tag *t);
/* Whether backups were asked for; no plan is kept for them. */
json_t *view_backup_policy(const struct droplet_record *d);

/* What droplets.body holds beside the columns: {"features": […]}. The caller frees; NULL: no
 * memory. */
struct droplet_features {
    bool backups, ipv6, monitoring, agent;
};
char *view_format_body(const struct droplet_features *f);
