#include "harpoon/api/routes.h"

#include <string.h>

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Decodes one part in place. False: a bad escape, or a NUL in it. */
static bool decode(char *text)
{
    char *to = text;

    for (const char *from = text; *from != 0; from++) {
        char c = *from;
        if (c == '%') {
            int high = hex(from[1]), low = high < 0 ? -1 : hex(from[2]);
            if (low < 0 || high + low == 0)
                return false;
            c = (char)(high << 4 | low);
            from += 2;
        }
        *to++ = c;
    }
    *to = 0;
    return true;
}

/* Splits at slashes, then decodes. Returns the number of parts, -1: no path of ours. */
static int split(char *path, char *parts[ROUTE_SEGMENTS_MAX])
{
    int n = 0;
    size_t len = strlen(path);

    if (len == 0 || path[0] != '/')
        return -1;
    if (len > 1 && path[len - 1] == '/')
        path[len - 1] = 0;
    for (char *p = path + 1; p != NULL;) {
        char *end = strchr(p, '/');
        if (end != NULL)
            *end++ = 0;
        if (*p == 0 || n == ROUTE_SEGMENTS_MAX || !decode(p))
            return -1;
        parts[n++] = p;
        p = end;
    }
    return n;
}

/* How many literal parts match, -1: another path. Fills the arguments. */
static int compare(const char *pattern, char *const *parts, int count, const char **arguments)
{
    int literals = 0, taken = 0, i = 0;

    for (const char *p = pattern; *p == '/'; i++) {
        p++;
        size_t len = strcspn(p, "/");
        if (i == count)
            return -1;
        if (*p == '{') {
            arguments[taken++] = parts[i];
        } else if (strlen(parts[i]) == len && memcmp(parts[i], p, len) == 0) {
            literals++;
        } else {
            return -1;
        }
        p += len;
    }
    return i == count ? literals : -1;
}

static void add_method(char allow[48], const char *method)
{
    size_t used = strlen(allow);

    if (strstr(allow, method) != NULL || used + strlen(method) + 3 > 48)
        return;
    if (used > 0) {
        memcpy(allow + used, ", ", 2);
        used += 2;
    }
    memcpy(allow + used, method, strlen(method) + 1);
}

enum route_outcome route_find(const struct route *table, size_t count, const char *method,
                              const char *path, char *buffer, struct route_match *ret)
{
    char *parts[ROUTE_SEGMENTS_MAX];
    int best = -1; /* of all methods: /droplets/{id} must not answer for /droplets/actions */

    memset(ret, 0, sizeof *ret);
    memcpy(buffer, path, strlen(path) + 1);
    int n = split(buffer, parts);
    if (n < 0)
        return ROUTE_NO_PATH;
    if (strcmp(method, "HEAD") == 0)
        method = "GET";
    for (size_t i = 0; i < count; i++) {
        const char *arguments[ROUTE_ARGUMENTS_MAX] = {NULL};
        int literals = compare(table[i].pattern, parts, n, arguments);
        if (literals < 0 || literals < best)
            continue;
        if (literals > best) {
            best = literals;
            ret->route = NULL;
            ret->allow[0] = 0;
        }
        add_method(ret->allow, table[i].method);
        if (strcmp(table[i].method, method) == 0) {
            ret->route = &table[i];
            memcpy(ret->arguments, arguments, sizeof arguments);
        }
    }
    if (best < 0)
        return ROUTE_NO_PATH;
    return ret->route != NULL ? ROUTE_FOUND : ROUTE_NO_METHOD;
}
