#include "lib/rpc/rpc.h"

#include <string.h>

#define PREFIX_ROLE   "spiffe://harpoon/role/"
#define PREFIX_REGION "spiffe://harpoon/region/"
#define MAX_ID        ((UINT64_C(1) << 53) - 1)

static const struct {
    const char *name;
    enum rpc_role role;
} roles[] = {
    {"harpoon", RPC_ROLE_HARPOON},
    {"scheduler", RPC_ROLE_SCHEDULER},
    {"eventrouter", RPC_ROLE_EVENTROUTER},
    {"operator", RPC_ROLE_OPERATOR},
};

static int not_ours(const char *uri, struct error *err)
{
    return error_set(err, ERR_INVALID,
                     "'%.100s' is neither spiffe://harpoon/role/ROLE nor "
                     "spiffe://harpoon/region/REGION/hypervisor/NUMBER",
                     uri);
}

/* The region's slug up to '/', at most 31 characters. NULL: not a slug. */
static const char *parse_region(const char *text, char ret[32])
{
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-");
    if (n == 0 || n > 31 || text[n] != '/')
        return NULL;
    memcpy(ret, text, n);
    ret[n] = '\0';
    return text + n;
}

/* Decimal, no sign, no leading zero, 1 … 2^53 - 1: one spelling for one hypervisor. */
static bool parse_number(const char *text, uint64_t *ret)
{
    uint64_t v = 0;
    if (*text < '1' || *text > '9')
        return false;
    for (; *text >= '0' && *text <= '9'; text++) {
        v = v * 10 + (uint64_t)(*text - '0');
        if (v > MAX_ID)
            return false;
    }
    *ret = v;
    return *text == '\0';
}

int rpc_peer_parse(const char *uri, struct rpc_peer *ret, struct error *err)
{
    struct rpc_peer peer = {.role = RPC_ROLE_NONE};
    size_t size = strlen(uri) + 1;
    if (size > sizeof(peer.name))
        return not_ours(uri, err);
    memcpy(peer.name, uri, size);
    if (strncmp(uri, PREFIX_ROLE, strlen(PREFIX_ROLE)) == 0) {
        for (size_t i = 0; i < ARRAY_LEN(roles); i++)
            if (strcmp(uri + strlen(PREFIX_ROLE), roles[i].name) == 0)
                peer.role = roles[i].role;
    } else if (strncmp(uri, PREFIX_REGION, strlen(PREFIX_REGION)) == 0) {
        static const char infix[] = "/hypervisor/";
        const char *rest = parse_region(uri + strlen(PREFIX_REGION), peer.region);
        if (rest && strncmp(rest, infix, strlen(infix)) == 0 &&
            parse_number(rest + strlen(infix), &peer.hypervisor_id))
            peer.role = RPC_ROLE_HYPERVISOR;
    }
    if (peer.role == RPC_ROLE_NONE)
        return not_ours(uri, err);
    *ret = peer;
    return 0;
}
