#include "harpoon/api/view.h"

#include "harpoon/store/addresses.h"
#include "lib/clock.h"

#include <stdlib.h>
#include <string.h>

#define ACCOUNT_LIMIT_SHOWN 1000000 /* of accounts without a limit: clients want a number */

json_t *view_text(const char *text)
{
    json_t *whole = json_string(text);

    for (size_t len = strlen(text); whole == NULL && len > 0; len--)
        whole = json_stringn(text, len - 1);
    return whole;
}

json_t *view_time(int64_t unix_ms)
{
    char text[21];

    if (unix_ms == 0)
        return json_null();
    clock_format_rfc3339(unix_ms, text);
    return json_string(text);
}

static json_t *split_list(const char *text)
{
    json_t *list = json_array();

    while (*text != 0) {
        size_t len = strcspn(text, ",");
        if (len > 0)
            json_array_append_new(list, json_stringn(text, len));
        text += len + (text[len] == ',');
    }
    return list;
}

static json_t *region_slugs(const struct catalog *c)
{
    json_t *list = json_array();

    for (size_t i = 0; i < c->region_count; i++)
        if (c->regions[i].available)
            json_array_append_new(list, json_string(c->regions[i].slug));
    return list;
}

static json_t *size_slugs(const struct catalog *c)
{
    json_t *list = json_array();

    for (size_t i = 0; i < c->size_count; i++)
        if (c->sizes[i].available)
            json_array_append_new(list, json_string(c->sizes[i].slug));
    return list;
}

static json_t *disk_info(uint32_t gib)
{
    return json_pack("[{s:s, s:{s:i, s:s}}]", "type", "local", "size", "amount", (int)gib, "unit",
                     "gib");
}

static json_t *make_region(const struct catalog *c, const struct region *r)
{
    return json_pack("{s:s, s:o, s:b, s:o, s:o}", "slug", r->slug, "name", view_text(r->name),
                     "available", (int)r->available, "features", split_list(r->features), "sizes",
                     r->available ? size_slugs(c) : json_array());
}

static json_t *make_size(const struct catalog *c, const struct size *s)
{
    return json_pack("{s:s, s:I, s:I, s:I, s:f, s:f, s:f, s:o, s:b, s:o, s:o}", "slug", s->slug,
                     "memory", (json_int_t)s->memory_mib, "vcpus", (json_int_t)s->vcpus, "disk",
                     (json_int_t)s->disk_gib, "transfer", s->transfer_tb, "price_monthly",
                     s->price_monthly, "price_hourly", s->price_hourly, "regions",
                     s->available ? region_slugs(c) : json_array(), "available", (int)s->available,
                     "description", view_text(s->description), "disk_info", disk_info(s->disk_gib));
}

static json_t *make_image(const struct catalog *c, const struct image *i)
{
    return json_pack("{s:I, s:o, s:s, s:o, s:o, s:b, s:o, s:o, s:I, s:f, s:o, s:[], s:s, s:s}",
                     "id", (json_int_t)i->id, "name", view_text(i->name), "type", i->type,
                     "distribution", view_text(i->distribution), "slug",
                     i->slug[0] != 0 ? json_string(i->slug) : json_null(), "public",
                     (int)(i->account.v == 0), "regions", region_slugs(c), "created_at",
                     view_time(i->created_at_ms), "min_disk_size", (json_int_t)i->min_disk_gib,
                     "size_gigabytes", i->size_gigabytes, "description", view_text(i->description),
                     "tags", "status", i->deleted ? "retired" : "available", "error_message", "");
}

struct view *view_new(struct catalog *catalog)
{
    struct view *v = calloc(1, sizeof *v);

    if (v != NULL) {
        v->references = 1;
        v->catalog = catalog;
        v->regions = calloc(catalog->region_count + 1, sizeof(json_t *));
        v->sizes = calloc(catalog->size_count + 1, sizeof(json_t *));
        v->images = calloc(catalog->image_count + 1, sizeof(json_t *));
    }
    if (v == NULL || v->regions == NULL || v->sizes == NULL || v->images == NULL) {
        if (v == NULL)
            catalog_unref(catalog);
        view_unref(v);
        return NULL;
    }
    for (size_t i = 0; i < catalog->region_count; i++)
        v->regions[i] = make_region(catalog, &catalog->regions[i]);
    for (size_t i = 0; i < catalog->size_count; i++)
        v->sizes[i] = make_size(catalog, &catalog->sizes[i]);
    for (size_t i = 0; i < catalog->image_count; i++)
        v->images[i] = make_image(catalog, &catalog->images[i]);
    return v;
}

struct view *view_ref(struct view *v)
{
    __atomic_add_fetch(&v->references, 1, __ATOMIC_RELAXED);
    return v;
}

static void free_objects(json_t **objects, size_t count)
{
    for (size_t i = 0; objects != NULL && i < count; i++)
        json_decref(objects[i]);
    free(objects);
}

void view_unref(struct view *v)
{
    if (v == NULL || __atomic_sub_fetch(&v->references, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    free_objects(v->regions, v->catalog->region_count);
    free_objects(v->sizes, v->catalog->size_count);
    free_objects(v->images, v->catalog->image_count);
    catalog_unref(v->catalog);
    free(v);
}

json_t *view_region(const struct view *v, const char *slug)
{
    const struct region *r = catalog_find_region(v->catalog, slug);
    return r != NULL ? json_incref(v->regions[r - v->catalog->regions]) : json_null();
}

json_t *view_size(const struct view *v, const char *slug)
{
    const struct size *s = catalog_find_size(v->catalog, slug);
    return s != NULL ? json_incref(v->sizes[s - v->catalog->sizes]) : json_null();
}

json_t *view_image(const struct view *v, uint64_t id)
{
    const struct image *i = catalog_find_any_image(v->catalog, id);
    return i != NULL ? json_incref(v->images[i - v->catalog->images]) : json_null();
}

static json_t *view_address(uint32_t address, bool is_public)
{
    char text[ADDRESS_TEXT], gateway[ADDRESS_TEXT];

    return json_pack("{s:s, s:s, s:s, s:s}", "ip_address", address_format(address, text), "netmask",
                     ADDRESS_NETMASK, "gateway",
                     is_public ? address_format(address_gateway(address), gateway) : "", "type",
                     is_public ? "public" : "private");
}

/* Empty while the droplet is new: it is not reachable there yet. */
static json_t *view_networks(const struct droplet_record *d)
{
    json_t *v4 = json_array();
    bool lives = d->status == DROPLET_ACTIVE || d->status == DROPLET_OFF;

    if (lives && d->ipv4 != 0)
        json_array_append_new(v4, view_address(d->ipv4, true));
    if (lives && d->private_ipv4 != 0)
        json_array_append_new(v4, view_address(d->private_ipv4, false));
    return json_pack("{s:o, s:[]}", "v4", v4, "v6");
}

static json_t *view_features(const struct droplet_record *d)
{
    json_t *body = json_loads(d->body, 0, NULL);
    json_t *features = json_incref(json_object_get(body, "features"));

    json_decref(body);
    return features != NULL ? features : json_array();
}

json_t *view_droplet(const struct view *v, const struct droplet_record *d)
{
    json_t *tags = json_array();

    for (size_t i = 0; i < d->tag_count; i++)
        json_array_append_new(tags, json_string(d->tags[i]));
    return json_pack(
        "{s:I, s:s, s:I, s:I, s:I, s:o, s:b, s:s, s:n, s:o, s:o, s:[], s:n, s:[], s:o, s:[], s:o,"
        " s:s, s:o, s:o, s:o}",
        "id", (json_int_t)d->id.v, "name", d->name, "memory", (json_int_t)d->memory_mib, "vcpus",
        (json_int_t)d->vcpus, "disk", (json_int_t)d->disk_gib, "disk_info", disk_info(d->disk_gib),
        "locked", (int)(d->event.v != 0), "status", droplet_status_name(d->status), "kernel",
        "created_at", view_time(d->created_ms), "features", view_features(d), "backup_ids",
        "next_backup_window", "snapshot_ids", "image", view_image(v, d->image_id), "volume_ids",
        "size", view_size(v, d->size), "size_slug", d->size, "networks", view_networks(d), "region",
        view_region(v, d->region), "tags", tags);
}

static const char *action_status(enum event_state state)
{
    switch (state) {
    case EVENT_PENDING:
    case EVENT_DISPATCHED:
    case EVENT_RUNNING:
        return "in-progress";
    case EVENT_SUCCEEDED:
        return "completed";
    case EVENT_FAILED:
    case EVENT_CANCELLED:
        break;
    }
    return "errored";
}

json_t *view_action(const struct view *v, const struct action_record *a)
{
    return json_pack("{s:I, s:s, s:s, s:o, s:o, s:I, s:s, s:o, s:s}", "id", (json_int_t)a->id.v,
                     "status", action_status(a->state), "type", event_type_name(a->type),
                     "started_at", view_time(a->created_ms), "completed_at",
                     event_is_final(a->state) ? view_time(a->done_ms) : json_null(), "resource_id",
                     (json_int_t)a->droplet.v, "resource_type", "droplet", "region",
                     view_region(v, a->region), "region_slug", a->region);
}

json_t *view_key(const struct ssh_key *k)
{
    return json_pack("{s:I, s:s, s:o, s:o}", "id", (json_int_t)k->id, "fingerprint", k->fingerprint,
                     "public_key", view_text(k->public_key), "name", view_text(k->name));
}

json_t *view_account(const struct account *a)
{
    json_int_t limit = a->droplet_limit != 0 ? (json_int_t)a->droplet_limit : ACCOUNT_LIMIT_SHOWN;

    return json_pack("{s:I, s:i, s:i, s:i, s:o, s:o, s:s, s:b, s:s, s:s, s:{s:s, s:o}}",
                     "droplet_limit", limit, "floating_ip_limit", 0, "reserved_ip_limit", 0,
                     "volume_limit", 0, "email", view_text(a->email), "name", view_text(a->name),
                     "uuid", a->uuid, "email_verified", 1, "status", "active", "status_message", "",
                     "team", "uuid", a->uuid, "name", view_text(a->name));
}

json_t *view_tag(const struct tag *t)
{
    json_int_t n = (json_int_t)t->droplets;

    return json_pack("{s:s, s:{s:I, s:{s:I}, s:{s:i}, s:{s:i}, s:{s:i}, s:{s:i}}}", "name", t->name,
                     "resources", "count", n, "droplets", "count", n, "images", "count", 0,
                     "volumes", "count", 0, "volume_snapshots", "count", 0, "databases", "count",
                     0);
}

json_t *view_backup_policy(const struct droplet_record *d)
{
    json_t *features = view_features(d), *feature;
    bool enabled = false;
    size_t i;

    json_array_foreach(features, i, feature)
    {
        const char *name = json_string_value(feature);
        enabled = enabled || (name != NULL && strcmp(name, "backups") == 0);
    }
    json_decref(features);
    return json_pack("{s:I, s:b, s:n, s:n}", "droplet_id", (json_int_t)d->id.v, "backup_enabled",
                     (int)enabled, "backup_policy", "next_backup_window");
}

char *view_format_body(const struct droplet_features *f)
{
    json_t *features = json_array();

    if (f->backups)
        json_array_append_new(features, json_string("backups"));
    if (f->ipv6)
        json_array_append_new(features, json_string("ipv6"));
    if (f->monitoring)
        json_array_append_new(features, json_string("monitoring"));
    json_array_append_new(features, json_string("private_networking"));
    if (f->agent)
        json_array_append_new(features, json_string("droplet_agent"));
    json_t *body = json_pack("{s:o}", "features", features);
    char *text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    return text;
}
