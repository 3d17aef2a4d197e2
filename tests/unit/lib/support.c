#include "tests/unit/lib/support.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

void support_free_address(char ret[32], int *ret_port)
{
    struct sockaddr_in at = loopback(0);
    socklen_t size = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    close(fd);
    *ret_port = ntohs(at.sin_port);
    (void)snprintf(ret, 32, "127.0.0.1:%d", *ret_port);
}

int support_connect(int port)
{
    struct sockaddr_in at = loopback(port);
    struct timeval patience = {.tv_sec = 20};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

void support_send(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t n = send(fd, bytes, size, MSG_NOSIGNAL);
        if (n <= 0)
            return; /* the answer tells why */
        bytes += n;
        size -= (size_t)n;
    }
}

char *support_read_all(int fd)
{
    size_t size = 0, room = 4096;
    char *text = malloc(room);

    assert_non_null(text);
    for (;;) {
        if (size + 1 == room)
            text = realloc(text, room *= 2);
        assert_non_null(text);
        ssize_t n = recv(fd, text + size, room - size - 1, 0);
        if (n <= 0)
            break;
        size += (size_t)n;
    }
    text[size] = 0;
    close(fd);
    return text;
}

char *support_request(int port, const char *method, const char *path, const char *headers,
                      const char *body)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    int fd = support_connect(port);

    assert_non_null(out);
    fprintf(out, "%s %s HTTP/1.1\r\nHost: test\r\nConnection: close\r\n%s", method, path, headers);
    if (body != NULL)
        fprintf(out, "Content-Length: %zu\r\n\r\n%s", strlen(body), body);
    else
        fputs("\r\n", out);
    fclose(out);
    support_send(fd, text, size);
    free(text);
    return support_read_all(fd);
}
