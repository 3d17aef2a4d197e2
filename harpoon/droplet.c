#include "harpoon/droplet.h"

#include <inttypes.h>
#include <stdio.h>

const char *droplet_status_name(enum droplet_status status)
{
    switch (status) {
    case DROPLET_NEW:
        return "new";
    case DROPLET_ACTIVE:
        return "active";
    case DROPLET_OFF:
        return "off";
    case DROPLET_ARCHIVE:
        return "archive";
    }
    return "unknown";
}

void droplet_uuid_make(const struct uuid *installation, droplet_id id, struct uuid *ret)
{
    char text[24];
    int len = snprintf(text, sizeof text, "%" PRIu64, id.v);

    uuid_make_named(installation, text, (size_t)len, ret);
}
