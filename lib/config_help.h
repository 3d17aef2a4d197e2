/* lib/config_help.h: a program's options as people read them. Used by config.c. */
#pragma once

#include "lib/config.h"

#include <stdio.h>

/* What --help says. */
void config_print_help(FILE *out, const struct config_program *program);
/* What a value of this option must be: "a number from 1 to 64", "one of debug, info". */
void config_describe_value(const struct option_def *def, char *ret, size_t size);
