#include "support.h"

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

void folder_make(char ret[FOLDER_BYTES])
{
    const char *base = getenv("TMPDIR");

    snprintf(ret, FOLDER_BYTES, "%s/harpoon-agent-XXXXXX", base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(ret));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    UNUSED(st);
    UNUSED(type);
    UNUSED(ftw);
    return remove(path);
}

void folder_remove(const char *folder)
{
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *folder_path(const char *folder, const char *name)
{
    static char paths[8][FOLDER_BYTES * 2];
    static unsigned turn;
    char *ret = paths[turn++ % 8];

    snprintf(ret, sizeof paths[0], "%s/%s", folder, name);
    return ret;
}

char *file_read(const char *path, size_t *ret_size)
{
    char *text = NULL, buffer[4096];
    size_t size = 0;
    FILE *in = fopen(path, "re"), *out = open_memstream(&text, &size);

    assert_non_null(out);
    for (size_t n; in != NULL && (n = fread(buffer, 1, sizeof buffer, in)) > 0;)
        fwrite(buffer, 1, n, out);
    if (in != NULL)
        fclose(in);
    fclose(out);
    if (ret_size != NULL)
        *ret_size = size;
    return text;
}

void file_write(const char *path, const void *bytes, size_t size)
{
    FILE *out = fopen(path, "we");

    assert_non_null(out);
    assert_int_equal(fwrite(bytes, 1, size, out), size);
    assert_int_equal(fclose(out), 0);
}

void folder_copy(const char *from, const char *to)
{
    DIR *d = opendir(from);

    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        size_t size;
        if (e->d_type != DT_REG)
            continue;
        char *bytes = file_read(folder_path(from, e->d_name), &size);
        file_write(folder_path(to, e->d_name), bytes, size);
        free(bytes);
    }
    closedir(d);
}

size_t file_count_lines(const char *path, const char *end)
{
    char *text = file_read(path, NULL), *save = NULL;
    size_t n = 0;

    for (char *line = strtok_r(text, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save))
        n += strlen(line) >= strlen(end) && strcmp(line + strlen(line) - strlen(end), end) == 0;
    free(text);
    return n;
}
