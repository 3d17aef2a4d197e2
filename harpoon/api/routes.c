#include "harpoon/api/routes.h"

#include "harpoon/api/internal.h"

const struct route routes[] = {
    {"GET", "/v2/account", account_show, 0},
    {"GET", "/v2/account/keys", keys_list_all, ROUTE_READS},
    {"POST", "/v2/account/keys", keys_create, ROUTE_READS | ROUTE_WRITES | ROUTE_BODY},
    {"GET", "/v2/account/keys/{key}", keys_show, ROUTE_READS},
    {"PUT", "/v2/account/keys/{key}", keys_update, ROUTE_READS | ROUTE_WRITES | ROUTE_BODY},
    {"DELETE", "/v2/account/keys/{key}", keys_delete, ROUTE_READS | ROUTE_WRITES},

    {"GET", "/v2/regions", regions_list, 0},
    {"GET", "/v2/sizes", sizes_list, 0},
    {"GET", "/v2/images", images_list, 0},
    {"GET", "/v2/images/{image}", images_show, 0},

    {"POST", "/v2/droplets", droplets_create, ROUTE_WRITES | ROUTE_BODY},
    {"GET", "/v2/droplets", droplets_list_all, ROUTE_READS},
    {"DELETE", "/v2/droplets", droplets_delete_tagged, ROUTE_READS | ROUTE_WRITES},
    {"GET", "/v2/droplets/{id}", droplets_show, ROUTE_READS},
    {"DELETE", "/v2/droplets/{id}", droplets_delete, ROUTE_WRITES},
    {"GET", "/v2/droplets/{id}/actions", droplet_actions_list, ROUTE_READS},
    {"GET", "/v2/droplets/{id}/actions/{action}", droplet_actions_show, ROUTE_READS},

    {"GET", "/v2/actions", actions_list_all, ROUTE_READS},
    {"GET", "/v2/actions/{action}", actions_show, ROUTE_READS},

    {"GET", "/v2/firewalls", empty_list, 0},
    {"GET", "/v2/volumes", empty_list, 0},
    {"GET", "/v2/vpcs", empty_list, 0},
    {"GET", "/v2/reserved_ips", empty_list, 0},
    {"GET", "/v2/floating_ips", empty_list, 0},
    {"GET", "/v2/projects", empty_list, 0},
};
const size_t route_count = sizeof routes / sizeof routes[0];
