#include "harpoon/api/tagging.h"

#include "harpoon/api/json.h"

#include <stdlib.h>
#include <string.h>

static bool is_type(const char *text)
{
    static const char *const types[] = {"droplet", "image", "volume", "volume_snapshot",
                                        "database"};

    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (strcmp(types[i], text) == 0)
            return true;
    return false;
}

static int parse_one(const json_t *item, droplet_id *ret, struct error *err)
{
    const char *type = NULL;
    char shown[JSON_SHOWN];

    if (!json_is_object(item))
        return error_set(err, ERR_INVALID, "resources must be an array of objects.");
    const json_t *id = json_get_given(item, "resource_id");
    if (!json_is_string(id) && !json_is_integer(id))
        return error_set(err, ERR_INVALID, "resource_id must be a string.");
    int r = json_get_text(item, "resource_type", &type, err);
    if (r == 0)
        r = error_set(err, ERR_INVALID, "resource_type is required.");
    if (r < 0)
        return r;
    if (!is_type(type))
        return error_set(err, ERR_INVALID, "resource_type: \"%s\" cannot be tagged.",
                         json_show(type, shown));
    if (strcmp(type, "droplet") != 0 || !json_read_id(id, &ret->v))
        return error_set(err, ERR_NOT_FOUND, "no such resource");
    return 0;
}

static int compare(const void *a, const void *b)
{
    const droplet_id *x = a, *y = b;
    return x->v < y->v ? -1 : x->v > y->v;
}

int tagging_parse(const json_t *body, droplet_id **ret, size_t *ret_count, struct error *err)
{
    json_t *list = NULL;
    size_t n = 0;

    int r = json_get_array(body, "resources", &list, err);
    if (r == 0 || (r > 0 && json_array_size(list) == 0))
        r = error_set(err, ERR_INVALID, "resources must be an array of at least one resource.");
    if (r < 0)
        return r;
    size_t count = json_array_size(list);
    droplet_id *ids = malloc(count * sizeof *ids);
    if (ids == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    for (size_t i = 0; i < count; i++) {
        r = parse_one(json_array_get(list, i), &ids[i], err);
        if (r < 0) {
            free(ids);
            return r;
        }
    }
    qsort(ids, count, sizeof *ids, compare);
    for (size_t i = 0; i < count; i++)
        if (n == 0 || ids[n - 1].v != ids[i].v)
            ids[n++] = ids[i];
    *ret = ids;
    *ret_count = n;
    return 0;
}
