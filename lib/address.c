#include "lib/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

static int refuse(const char *text, struct error *err)
{
    return error_set(err, ERR_INVALID,
                     "\"%.100s\" is no address: ADDRESS:PORT is expected, as 127.0.0.1:8080", text);
}

static int parse_port(const char *text)
{
    int port = 0;

    if (*text == 0 || strlen(text) > 5)
        return -1;
    for (; *text != 0; text++) {
        if (*text < '0' || *text > '9')
            return -1;
        port = port * 10 + (*text - '0');
    }
    return port <= 65535 ? port : -1;
}

int address_parse(const char *text, struct sockaddr_storage *ret, socklen_t *ret_size,
                  struct error *err)
{
    const char *colon = strrchr(text, ':');
    char host[64];

    if (colon == NULL || (size_t)(colon - text) >= sizeof host)
        return refuse(text, err);
    size_t len = (size_t)(colon - text);
    bool six = len >= 2 && text[0] == '[' && text[len - 1] == ']';
    memcpy(host, text + (six ? 1 : 0), len - (six ? 2 : 0));
    host[len - (six ? 2 : 0)] = 0;
    int port = parse_port(colon + 1);
    if (port < 0)
        return refuse(text, err);

    memset(ret, 0, sizeof *ret);
    struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;
    if (!six && inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        *ret_size = sizeof *v4;
        return 0;
    }
    if (six && inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        *ret_size = sizeof *v6;
        return 0;
    }
    return refuse(text, err);
}
