#include "harpoon/api/create.h"

#include "harpoon/api/json.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

struct reading {
    const json_t *body;
    const struct catalog *catalog;
    account_id account;
    uint64_t random;
    struct create_order *order;
};

static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool create_is_name(const char *text)
{
    size_t len = strlen(text);

    if (len == 0 || len > 255 || !is_plain(text[len - 1]))
        return false;
    for (size_t i = 0; i < len; i++)
        if (!is_plain(text[i]) && text[i] != '.' && text[i] != '-')
            return false;
    return true;
}

bool create_is_tag(const char *text)
{
    size_t len = strlen(text);

    if (len == 0 || len > 255)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!is_plain(text[i]) && strchr("_:-", text[i]) == NULL)
            return false;
    return true;
}

/* ---- one function a field ---- */
static int add_name(struct create_order *order, const char *key, const char *name,
                    struct error *err)
{
    char shown[JSON_SHOWN];

    if (!create_is_name(name))
        return error_set(err, ERR_INVALID,
                         "%s: \"%s\" is not valid: only letters, digits, '.' and '-' are, 1 to 255"
                         " of them, the last one a letter or digit.",
                         key, json_show(name, shown));
    order->names[order->name_count++] = name;
    return 0;
}

static int read_names(const struct reading *r, struct error *err)
{
    const char *name = NULL;
    json_t *names = NULL, *item;
    size_t i;

    int has_name = json_get_text(r->body, "name", &name, err);
    if (has_name < 0)
        return has_name;
    int has_names = json_get_array(r->body, "names", &names, err);
    if (has_names < 0)
        return has_names;
    if (has_name > 0 && has_names > 0)
        return error_set(err, ERR_INVALID, "name and names cannot both be given.");
    if (has_name > 0)
        return add_name(r->order, "name", name, err);
    if (has_names == 0)
        return error_set(err, ERR_INVALID, "name is required.");
    if (json_array_size(names) < 1 || json_array_size(names) > ACCEPT_NAMES_MAX)
        return error_set(err, ERR_INVALID, "names must have 1 to %d items.", ACCEPT_NAMES_MAX);
    r->order->several = true;
    json_array_foreach(names, i, item)
    {
        if (!json_is_string(item))
            return error_set(err, ERR_INVALID, "names must be an array of strings.");
        int e = add_name(r->order, "names", json_string_value(item), err);
        if (e < 0)
            return e;
    }
    return 0;
}

static int not_in_catalog(const struct reading *r, const char *key, const char *what,
                          struct error *err)
{
    char shown[JSON_SHOWN];

    r->order->unknown = true;
    return error_set(err, ERR_INVALID, "%s: there is no %s \"%s\".", key, key,
                     json_show(what, shown));
}

static int read_region(const struct reading *r, struct error *err)
{
    const char *slug = "";

    int e = json_get_text(r->body, "region", &slug, err);
    if (e < 0)
        return e;
    r->order->region = catalog_choose_region(r->catalog, slug, r->random);
    if (r->order->region == NULL)
        return not_in_catalog(r, "region", slug, err);
    if (!r->order->region->available)
        return error_set(err, ERR_INVALID, "region: %s is not available.", r->order->region->slug);
    return 0;
}

static int read_size(const struct reading *r, struct error *err)
{
    const char *slug = NULL;

    int e = json_get_text(r->body, "size", &slug, err);
    if (e < 0)
        return e;
    if (e == 0)
        return error_set(err, ERR_INVALID, "size is required.");
    r->order->size = catalog_find_size(r->catalog, slug);
    if (r->order->size == NULL)
        return not_in_catalog(r, "size", slug, err);
    if (!r->order->size->available)
        return error_set(err, ERR_INVALID, "size: %s is not available.", r->order->size->slug);
    return 0;
}

static int read_image(const struct reading *r, struct error *err)
{
    json_t *value = json_get_given(r->body, "image");
    char number[24] = "";
    uint64_t id = 0;

    if (value == NULL)
        return error_set(err, ERR_INVALID, "image is required.");
    if (!json_is_string(value) && !json_is_integer(value))
        return error_set(err, ERR_INVALID, "image must be a slug or a number.");
    if (json_read_id(value, &id))
        r->order->image = catalog_find_image(r->catalog, r->account, id);
    else if (json_is_string(value))
        r->order->image = catalog_find_image_slug(r->catalog, r->account, json_string_value(value));
    if (r->order->image == NULL) {
        (void)snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return not_in_catalog(r, "image", json_is_string(value) ? json_string_value(value) : number,
                              err);
    }
    if (r->order->image->min_disk_gib > r->order->size->disk_gib)
        return error_set(err, ERR_INVALID, "size: %s has a disk of %u GiB, the image needs %u GiB.",
                         r->order->size->slug, r->order->size->disk_gib,
                         r->order->image->min_disk_gib);
    return 0;
}

static bool has_tag(const struct create_order *order, const char *tag)
{
    for (size_t i = 0; i < order->tag_count; i++)
        if (strcasecmp(order->tags[i], tag) == 0)
            return true;
    return false;
}

static int read_tags(const struct reading *r, struct error *err)
{
    json_t *tags = NULL, *item;
    char shown[JSON_SHOWN];
    size_t i;

    int e = json_get_array(r->body, "tags", &tags, err);
    if (e <= 0)
        return e;
    if (json_array_size(tags) > CREATE_TAGS_MAX)
        return error_set(err, ERR_INVALID, "tags must have at most %d items.", CREATE_TAGS_MAX);
    json_array_foreach(tags, i, item)
    {
        const char *tag = json_string_value(item);
        if (tag == NULL)
            return error_set(err, ERR_INVALID, "tags must be an array of strings.");
        if (!create_is_tag(tag))
            return error_set(err, ERR_INVALID,
                             "tags: \"%s\" is not valid: only letters, digits, '_', ':' and '-'"
                             " are, 1 to 255 of them.",
                             json_show(tag, shown));
        if (!has_tag(r->order, tag))
            r->order->tags[r->order->tag_count++] = tag;
    }
    return 0;
}

static int read_keys(const struct reading *r, struct error *err)
{
    json_t *keys = NULL, *item;
    size_t i;

    int e = json_get_array(r->body, "ssh_keys", &keys, err);
    if (e <= 0)
        return e;
    if (json_array_size(keys) > CREATE_KEYS_MAX)
        return error_set(err, ERR_INVALID, "ssh_keys must have at most %d items.", CREATE_KEYS_MAX);
    json_array_foreach(keys, i, item)
    {
        struct key_name name = {0};
        const char *text = json_string_value(item);
        bool fine = text != NULL ? key_name_parse(text, &name) : json_read_id(item, &name.id);
        if (!fine)
            return error_set(err, ERR_INVALID,
                             "ssh_keys must be an array of ids and fingerprints.");
        r->order->keys[r->order->key_count++] = name;
    }
    return 0;
}

static int read_user_data(const struct reading *r, struct error *err)
{
    int e = json_get_text(r->body, "user_data", &r->order->user_data, err);

    if (e > 0 && strlen(r->order->user_data) > CREATE_USER_DATA)
        return error_set(err, ERR_INVALID, "user_data must have at most %u bytes (64 KiB).",
                         CREATE_USER_DATA);
    return e;
}

/* There are none, so that any that is named is unknown. */
static int read_volumes(const struct reading *r, struct error *err)
{
    json_t *volumes = NULL;

    int e = json_get_array(r->body, "volumes", &volumes, err);
    if (e > 0 && json_array_size(volumes) > 0)
        return error_set(err, ERR_INVALID, "volumes: there is no such volume.");
    return e;
}

static int read_network(const struct reading *r, struct error *err)
{
    const char *uuid = "";

    int e = json_get_text(r->body, "vpc_uuid", &uuid, err);
    if (e > 0 && *uuid != 0)
        return error_set(err, ERR_INVALID, "vpc_uuid: there is no such VPC.");
    return e;
}

static int read_flags(const struct reading *r, struct error *err)
{
    bool ignored = false;
    const struct {
        const char *key;
        bool *to;
    } flags[] = {
        {"backups", &r->order->backups},       {"ipv6", &r->order->ipv6},
        {"monitoring", &r->order->monitoring}, {"with_droplet_agent", &r->order->agent},
        {"private_networking", &ignored},      {"public_networking", &ignored},
    };

    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        int e = json_get_flag(r->body, flags[i].key, flags[i].to, err);
        if (e < 0)
            return e;
    }
    json_t *policy = json_get_given(r->body, "backup_policy");
    if (policy != NULL && !json_is_object(policy))
        return error_set(err, ERR_INVALID, "backup_policy must be an object.");
    return 0;
}

int create_parse(const json_t *body, const struct catalog *catalog, account_id account,
                 uint64_t random, struct create_order *ret, struct error *err)
{
    static int (*const fields[])(const struct reading *r, struct error *err) = {
        read_names, read_region,    read_size,    read_image,   read_tags,
        read_keys,  read_user_data, read_volumes, read_network, read_flags,
    };
    const struct reading r = {body, catalog, account, random, ret};

    memset(ret, 0, sizeof *ret);
    ret->agent = true;
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        int e = fields[i](&r, err);
        if (e < 0)
            return e;
    }
    return 0;
}
