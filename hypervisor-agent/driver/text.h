/* hypervisor-agent/driver/text.h: text from customers, one character at a time. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* The next character of a NUL-terminated text, moving *at past it; 0 at the end. What is not valid
 * UTF-8 becomes U+FFFD, a byte at a time. */
uint32_t text_next(const char **at);
/* Writes `text` as a YAML scalar in double quotes, in nothing but printable ASCII. */
void text_write_quoted(FILE *out, const char *text);
/* Copies `text` as UTF-8 that XML 1.0 allows (what it does not becomes U+FFFD); at most `size` - 1
 * bytes, cut between characters. */
void text_copy_for_xml(const char *text, char *ret, size_t size);
