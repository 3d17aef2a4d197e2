#include "harpoon/store/accept_params.h"

#include "harpoon/droplet.h"
#include "proto/event.pb-c.h"

#include <stdlib.h>

/* protobuf-c wants pointers that are not const, but only reads. */
#define TEXT(s) ((char *)(uintptr_t)(s))

static void fill_image(const struct image *from, Harpoon__Job__V1__Image *ret)
{
    *ret = (Harpoon__Job__V1__Image)HARPOON__JOB__V1__IMAGE__INIT;
    ret->id = from->id;
    ret->slug = TEXT(from->slug);
    ret->url = TEXT(from->url);
    ret->sha256 = TEXT(from->sha256);
    ret->min_disk_gib = from->min_disk_gib;
}

static void fill_address(uint32_t address, Harpoon__Job__V1__Address__Type type,
                         char text[ADDRESS_TEXT], char gateway[ADDRESS_TEXT],
                         Harpoon__Job__V1__Address *ret)
{
    *ret = (Harpoon__Job__V1__Address)HARPOON__JOB__V1__ADDRESS__INIT;
    ret->type = type;
    ret->address = TEXT(address_format(address, text));
    ret->prefix_length = ADDRESS_PREFIX_LENGTH;
    if (type == HARPOON__JOB__V1__ADDRESS__TYPE__TYPE_PUBLIC) /* the default route */
        ret->gateway = TEXT(address_format(address_gateway(address), gateway));
}

int accept_params_pack(const struct accept_request *r, const struct accept_droplet *d,
                       const struct uuid *installation, uint8_t **ret, size_t *ret_size,
                       struct error *err)
{
    Harpoon__Event__V1__Params params = HARPOON__EVENT__V1__PARAMS__INIT;
    Harpoon__Job__V1__DropletSpec spec = HARPOON__JOB__V1__DROPLET_SPEC__INIT;
    Harpoon__Job__V1__Image image;
    Harpoon__Job__V1__Address addresses[2];
    Harpoon__Job__V1__Address *list[] = {&addresses[0], &addresses[1]};
    char texts[2][ADDRESS_TEXT], gateways[2][ADDRESS_TEXT], uuid_text[UUID_TEXT];
    struct uuid uuid;

    fill_image(r->image, &image);
    fill_address(d->public_ipv4, HARPOON__JOB__V1__ADDRESS__TYPE__TYPE_PUBLIC, texts[0],
                 gateways[0], &addresses[0]);
    fill_address(d->private_ipv4, HARPOON__JOB__V1__ADDRESS__TYPE__TYPE_PRIVATE, texts[1],
                 gateways[1], &addresses[1]);
    droplet_uuid_make(installation, d->id, &uuid);
    uuid_format(&uuid, uuid_text);
    spec.name = TEXT(d->name);
    spec.vcpus = r->size->vcpus;
    spec.memory_mib = r->size->memory_mib;
    spec.disk_gib = r->size->disk_gib;
    spec.image = &image;
    spec.n_ssh_keys = r->ssh_key_count;
    spec.ssh_keys = (char **)(uintptr_t)r->ssh_keys;
    spec.user_data.data = (uint8_t *)(uintptr_t)r->user_data;
    spec.user_data.len = r->user_data_size;
    spec.n_addresses = ARRAY_LEN(list);
    spec.addresses = list;
    params.spec = &spec;
    params.droplet_uuid = uuid_text;
    params.trace_id = TEXT(r->trace_id);
    *ret_size = harpoon__event__v1__params__get_packed_size(&params);
    *ret = malloc(*ret_size + 1);
    if (*ret == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    harpoon__event__v1__params__pack(&params, *ret);
    return 0;
}
