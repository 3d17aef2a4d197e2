#include "lib/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Numbers of gRPC's status codes; only lib/rpc sees its header. */
enum {
    GRPC_CANCELLED = 1,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_ABORTED = 10,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_UNAUTHENTICATED = 16,
};

static const struct error_info infos[] = {
    {ERR_INVALID, "invalid", 422, "unprocessable_entity", GRPC_INVALID_ARGUMENT, false},
    {ERR_NOT_FOUND, "not_found", 404, "not_found", GRPC_NOT_FOUND, false},
    {ERR_CONFLICT, "conflict", 409, "conflict", GRPC_ABORTED, false},
    {ERR_NO_CAPACITY, "no_capacity", 422, "unprocessable_entity", GRPC_FAILED_PRECONDITION, true},
    {ERR_BUSY, "busy", 429, "too_many_requests", GRPC_RESOURCE_EXHAUSTED, true},
    {ERR_UNAVAILABLE, "unavailable", 503, "service_unavailable", GRPC_UNAVAILABLE, true},
    {ERR_DEADLINE, "deadline", 503, "service_unavailable", GRPC_DEADLINE_EXCEEDED, true},
    {ERR_INTERNAL, "internal", 500, "server_error", GRPC_INTERNAL, false},
    {ERR_UNAUTHENTICATED, "unauthenticated", 401, "unauthorized", GRPC_UNAUTHENTICATED, false},
    {ERR_FORBIDDEN, "forbidden", 403, "forbidden", GRPC_PERMISSION_DENIED, false},
    {ERR_TOO_LARGE, "too_large", 413, "request_entity_too_large", GRPC_OUT_OF_RANGE, false},
};

static const struct {
    int grpc_status, code;
} from_grpc[] = {
    /* those that `infos` does not give already */
    {GRPC_CANCELLED, ERR_UNAVAILABLE}, /* the peer is going away, or the caller did */
    {GRPC_ALREADY_EXISTS, ERR_CONFLICT},
};

/* vsnprintf cuts between bytes: takes a character away that lost its end, so that the text stays
 * valid UTF-8. */
static void drop_cut_character(char *text, size_t size)
{
    size_t end = size - 1, start = end;

    while (start > 0 && end - start < 3 && ((unsigned char)text[start - 1] & 0xC0) == 0x80)
        start--;
    if (start == 0)
        return;
    unsigned char lead = (unsigned char)text[--start];
    size_t whole = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    if (end - start < whole)
        text[start] = 0;
}

/* `message` holds what fitted of `wanted` bytes. */
static void store_message(struct error *err, char *message, int wanted)
{
    if (wanted >= (int)sizeof err->message)
        drop_cut_character(message, sizeof err->message);
    memcpy(err->message, message, strlen(message) + 1);
}

int error_set(struct error *err, int code, const char *format, ...)
{
    va_list args;
    char message[sizeof err->message] = ""; /* an argument may be err->message */

    va_start(args, format);
    int wanted = vsnprintf(message, sizeof message, format, args);
    va_end(args);
    store_message(err, message, wanted);
    err->code = code;
    return code;
}

int error_in(struct error *err, const char *format, ...)
{
    va_list args;
    char front[sizeof err->message] = "", message[sizeof err->message] = "";

    va_start(args, format);
    int wanted = vsnprintf(front, sizeof front, format, args);
    va_end(args);
    if (wanted < (int)sizeof front)
        wanted = snprintf(message, sizeof message, "%s: %s", front, err->message);
    store_message(err, message[0] != 0 ? message : front, wanted);
    return err->code;
}

const struct error_info *error_info_get(int code)
{
    const struct error_info *internal = NULL;

    for (size_t i = 0; i < ARRAY_LEN(infos); i++) {
        if (infos[i].code == code)
            return &infos[i];
        if (infos[i].code == ERR_INTERNAL)
            internal = &infos[i];
    }
    return internal;
}

int error_code_from_grpc(int grpc_status)
{
    for (size_t i = 0; i < ARRAY_LEN(infos); i++)
        if (infos[i].grpc_status == grpc_status)
            return infos[i].code;
    for (size_t i = 0; i < ARRAY_LEN(from_grpc); i++)
        if (from_grpc[i].grpc_status == grpc_status)
            return from_grpc[i].code;
    return ERR_INTERNAL;
}
