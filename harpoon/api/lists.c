/* The account, and the catalogue as lists: all from memory. */
#include "harpoon/api/internal.h"
#include "harpoon/api/json.h"
#include "harpoon/api/pages.h"

#include <string.h>

void account_show(struct call *c)
{
    call_reply(c, 200, json_pack("{s:o}", "account", view_account(&c->token.account)));
}

/* Objects of the catalogue that `fits` lets through (NULL: all), the page's of them. */
static void reply_objects(struct call *c, const char *key, json_t *const *objects, size_t count,
                          bool (*fits)(const struct call *c, size_t i))
{
    struct page page = call_page(c);
    uint64_t first = page_offset(&page), total = 0;
    json_t *items = json_array();

    for (size_t i = 0; i < count; i++) {
        if (fits != NULL && !fits(c, i))
            continue;
        if (total >= first && total < first + page.per_page)
            json_array_append(items, objects[i]);
        total++;
    }
    call_reply_page(c, &page, key, items, total);
}

void regions_list(struct call *c)
{
    if (call_has_catalog(c))
        reply_objects(c, "regions", c->view->regions, c->view->catalog->region_count, NULL);
}

void sizes_list(struct call *c)
{
    if (call_has_catalog(c))
        reply_objects(c, "sizes", c->view->sizes, c->view->catalog->size_count, NULL);
}

/* `type` of the query is not the object's: a distribution is public, an application has none. */
static bool image_fits(const struct call *c, size_t i)
{
    const struct image *image = &c->view->catalog->images[i];
    const char *type = http_query(c->http, "type"), *own = http_query(c->http, "private");

    if (!image_is_visible(image, call_account(c)) || http_query(c->http, "tag_name") != NULL)
        return false;
    if (own != NULL && strcmp(own, "true") == 0 && image->account.v == 0)
        return false;
    if (type == NULL)
        return true;
    return strcmp(type, "distribution") == 0 && image->account.v == 0;
}

void images_list(struct call *c)
{
    if (call_has_catalog(c))
        reply_objects(c, "images", c->view->images, c->view->catalog->image_count, image_fits);
}

void images_show(struct call *c)
{
    const char *name = c->match.arguments[0];
    const struct image *image = NULL;
    uint64_t id = 0;

    if (!call_has_catalog(c))
        return;
    if (json_parse_id(name, &id))
        image = catalog_find_image(c->view->catalog, call_account(c), id);
    else
        image = catalog_find_image_slug(c->view->catalog, call_account(c), name);
    if (image != NULL)
        call_reply(c, 200, json_pack("{s:o}", "image", view_image(c->view, image->id)));
    else if (!call_again(c, images_show))
        call_not_found(c);
}

/* Things that clients ask for and that are not there: "/v2/firewalls" has the key "firewalls". */
void empty_list(struct call *c)
{
    struct page page = call_page(c);

    call_reply_page(c, &page, strrchr(c->match.route->pattern, '/') + 1, json_array(), 0);
}
