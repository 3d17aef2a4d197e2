#include "lib/sql/internal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* Both kinds of comment to the end of the line: "-- " and "#". */
static bool starts_comment(const char *p)
{
    return *p == '#' ||
           (p[0] == '-' && p[1] == '-' && (p[2] == '\0' || isspace((unsigned char)p[2])));
}

static const char *line_end(const char *p)
{
    return p + strcspn(p, "\n");
}

/* Nothing but space or a comment until the end of the line. */
static bool rest_is_empty(const char *p)
{
    while (*p == ' ' || *p == '\t' || *p == '\r')
        p++;
    return *p == '\0' || *p == '\n' || starts_comment(p);
}

/* Past the closing quote; a backslash or a doubled quote does not close it. */
static const char *quoted_end(const char *p)
{
    char quote = *p++;
    while (*p) {
        if (*p == '\\' && quote != '`' && p[1])
            p += 2;
        else if (*p != quote)
            p++;
        else if (p[1] == quote)
            p += 2;
        else
            return p + 1;
    }
    return p;
}

static char *trimmed(char *text, size_t size)
{
    while (size && isspace((unsigned char)text[size - 1]))
        size--;
    text[size] = '\0';
    return text;
}

char *sql_script_next(const char **cursor)
{
    const char *p = *cursor;
    while (isspace((unsigned char)*p) || starts_comment(p))
        p = starts_comment(p) ? line_end(p) : p + 1;
    if (!*p) {
        *cursor = p;
        return NULL;
    }
    char *text = malloc(strlen(p) + 1);
    size_t n = 0;
    if (!text)
        return NULL;
    while (*p && !(*p == ';' && rest_is_empty(p + 1))) {
        const char *end = p + 1;
        if (starts_comment(p)) {
            p = line_end(p);
            continue;
        }
        if (*p == '\'' || *p == '"' || *p == '`')
            end = quoted_end(p);
        memcpy(text + n, p, (size_t)(end - p));
        n += (size_t)(end - p);
        p = end;
    }
    *cursor = *p ? p + 1 : p;
    return trimmed(text, n);
}
