#include "hypervisor-agent/driver/text.h"

#include <string.h>

enum { REPLACEMENT = 0xFFFD };

uint32_t text_next(const char **at)
{
    const unsigned char *p = (const unsigned char *)*at;
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = p[0] < 0x80 ? 1 : p[0] >= 0xF0 ? 4 : p[0] >= 0xE0 ? 3 : 2;
    uint32_t c = len == 1 ? p[0] : p[0] & (0x7Fu >> len);

    if (p[0] == 0)
        return 0;
    bool valid = len == 1 || (p[0] >= 0xC2 && p[0] <= 0xF4);
    for (size_t i = 1; i < len && valid; i++) {
        valid = (p[i] & 0xC0) == 0x80; /* false at the final NUL: nothing behind it is read */
        c = c << 6 | (p[i] & 0x3F);
    }
    if (valid && (c < least[len] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)))
        valid = false;
    *at += valid ? len : 1;
    return valid ? c : REPLACEMENT;
}

void text_write_quoted(FILE *out, const char *text)
{
    uint32_t c;

    fputc('"', out);
    while ((c = text_next(&text)) != 0) {
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", (int)c);
        else if (c >= ' ' && c <= '~')
            fputc((int)c, out);
        else if (c <= 0xFFFF)
            fprintf(out, "\\u%04X", (unsigned)c);
        else /* a surrogate pair, which JSON wants, means two characters in YAML */
            fprintf(out, "\\U%08X", (unsigned)c);
    }
    fputc('"', out);
}

static size_t encode(uint32_t c, char ret[4])
{
    if (c < 0x80) {
        ret[0] = (char)c;
        return 1;
    }
    size_t len = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i > 0; i--, c >>= 6)
        ret[i] = (char)(0x80 | (c & 0x3F));
    ret[0] = (char)((0xF00u >> len & 0xFF) | c);
    return len;
}

static bool allowed_in_xml(uint32_t c)
{
    return c == '\t' || c == '\n' || c == '\r' || (c >= ' ' && c != 0xFFFE && c != 0xFFFF);
}

void text_copy_for_xml(const char *text, char *ret, size_t size)
{
    char bytes[4];
    uint32_t c;
    size_t len = 0;

    while ((c = text_next(&text)) != 0) {
        size_t n = encode(allowed_in_xml(c) ? c : REPLACEMENT, bytes);
        if (len + n >= size)
            break;
        memcpy(ret + len, bytes, n);
        len += n;
    }
    ret[len] = 0;
}
