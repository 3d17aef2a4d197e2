#include "harpoonctl/command.h"

#include "lib/error.h"

#include <stdio.h>

int command_fail(const struct error *err)
{
    fprintf(stderr, "harpoonctl: %s\n", err->message);
    switch (err->code) {
    case ERR_INVALID:
        return EXIT_USAGE;
    case ERR_NOT_FOUND:
        return EXIT_NOT_FOUND;
    case ERR_UNAVAILABLE:
    case ERR_DEADLINE:
        return EXIT_UNREACHABLE;
    default:
        return EXIT_FAILED;
    }
}
