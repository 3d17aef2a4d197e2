#include "harpoon/store/seed.h"

#include "harpoon/store/addresses.h"
#include "harpoon/store/tokens.h"
#include "lib/clock.h"
#include "lib/sql/sql.h"
#include "lib/uuid.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char INSERT_INSTALLATION[] =
    "INSERT INTO installation (id, writer_epoch)"
    " SELECT ?, 1 FROM DUAL WHERE NOT EXISTS (SELECT 1 FROM installation)";
static const char INSERT_BLOCK[] = "INSERT IGNORE INTO id_blocks (name, next) VALUES (?, ?)";
static const char INSERT_REGION[] =
    "INSERT IGNORE INTO regions (slug, name, available, features) VALUES (?, ?, 1, ?)";
static const char INSERT_SIZE[] =
    "INSERT IGNORE INTO sizes (slug, description, vcpus, memory_mib, disk_gib, transfer_tb,"
    " price_monthly, price_hourly, available) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1)";
#define SIZE_COLUMNS 8
static const char INSERT_IMAGE[] =
    "INSERT IGNORE INTO images (id, account_id, slug, name, distribution, type, min_disk_gib,"
    " size_gigabytes, description, url, sha256, created_at)"
    " VALUES (?, NULL, ?, ?, ?, 'base', ?, ?, ?, ?, ?, ?)";
#define IMAGE_COLUMNS 10
static const char SET_IMAGE[] =
    "UPDATE images SET url = ?, sha256 = ? WHERE slug = ? AND account_id IS NULL";

/* Far apart, so that a number says to people what it is. */
static const struct {
    const char *name;
    uint64_t first;
} blocks[] = {
    {"account", 2},    {"token", 1},           {"key", 1001},
    {"image", 100001}, {"droplet", 300000001}, {"event", 1000000001},
};

static const struct {
    const char *prefix, *name;
} cities[] = {
    {"nyc", "New York"}, {"sfo", "San Francisco"}, {"ams", "Amsterdam"}, {"sgp", "Singapore"},
    {"lon", "London"},   {"fra", "Frankfurt"},     {"tor", "Toronto"},   {"blr", "Bangalore"},
    {"syd", "Sydney"},   {"atl", "Atlanta"},       {"ric", "Richmond"},
};

static const struct {
    const char *slug, *description;
    uint32_t vcpus, memory_mib, disk_gib;
    const char *transfer_tb, *monthly, *hourly; /* decimals as text: no rounding on the way */
} sizes[] = {
    {"s-1vcpu-512mb-10gb", "Basic", 1, 512, 10, "0.5", "4", "0.00595"},
    {"s-1vcpu-1gb", "Basic", 1, 1024, 25, "1", "6", "0.00893"},
    {"s-1vcpu-2gb", "Basic", 1, 2048, 50, "2", "12", "0.01786"},
    {"s-2vcpu-2gb", "Basic", 2, 2048, 60, "3", "18", "0.02679"},
    {"s-2vcpu-4gb", "Basic", 2, 4096, 80, "4", "24", "0.03571"},
    {"s-4vcpu-8gb", "Basic", 4, 8192, 160, "5", "48", "0.07143"},
    {"s-8vcpu-16gb", "Basic", 8, 16384, 320, "6", "96", "0.14286"},
    {"s-16vcpu-32gb", "Basic", 16, 32768, 640, "7", "192", "0.28571"},
    {"c-2", "CPU-Optimized", 2, 4096, 25, "4", "42", "0.0625"},
    {"c-4", "CPU-Optimized", 4, 8192, 50, "5", "84", "0.125"},
    {"c-8", "CPU-Optimized", 8, 16384, 100, "6", "168", "0.25"},
    {"g-2vcpu-8gb", "General Purpose", 2, 8192, 25, "4", "63", "0.09375"},
    {"g-4vcpu-16gb", "General Purpose", 4, 16384, 50, "5", "126", "0.1875"},
    {"g-8vcpu-32gb", "General Purpose", 8, 32768, 100, "6", "252", "0.375"},
    {"m-2vcpu-16gb", "Memory-Optimized", 2, 16384, 50, "4", "84", "0.125"},
    {"m-4vcpu-32gb", "Memory-Optimized", 4, 32768, 100, "6", "168", "0.25"},
};

static const struct {
    uint64_t id;
    const char *slug, *name, *distribution;
    uint32_t min_disk_gib;
    const char *size_gigabytes;
} images[] = {
    {1001, "ubuntu-24-04-x64", "24.04 (LTS) x64", "Ubuntu", 7, "0.66"},
    {1002, "ubuntu-22-04-x64", "22.04 (LTS) x64", "Ubuntu", 7, "0.65"},
    {1003, "debian-12-x64", "12 x64", "Debian", 7, "0.52"},
    {1004, "debian-13-x64", "13 x64", "Debian", 7, "0.55"},
    {1005, "fedora-42-x64", "42 x64", "Fedora", 8, "0.83"},
    {1006, "rockylinux-9-x64", "9 x64", "Rocky Linux", 10, "1.1"},
    {1007, "almalinux-9-x64", "9 x64", "AlmaLinux", 10, "1.2"},
    {1008, "centos-stream-9-x64", "Stream 9 x64", "CentOS", 10, "1.3"},
    {1010, "harpoon-tiny", "Tiny x64", "Harpoon", 1, "0.03"},
};

static const char FEATURES[] = "backups,ipv6,metadata,install_agent,storage,image_transfer";

int seed_installation(struct sql *db, struct error *err)
{
    struct sql_value values[2 * ARRAY_LEN(blocks)];
    struct uuid uuid;
    char text[UUID_TEXT];

    uuid_make_random(&uuid);
    uuid_format(&uuid, text);
    int64_t made = sql_exec(db, INSERT_INSTALLATION, (struct sql_value[]){SQL_T(text)}, 1, err);
    if (made < 0)
        return error_in(err, "installation");
    for (size_t i = 0; i < ARRAY_LEN(blocks); i++) {
        values[2 * i] = SQL_T(blocks[i].name);
        values[2 * i + 1] = SQL_U(blocks[i].first);
    }
    int64_t r = sql_exec_array(db, INSERT_BLOCK, values, 2, ARRAY_LEN(blocks), err);
    return r < 0 ? error_in(err, "blocks of ids") : made > 0;
}

/* "nyc3" is "New York 3"; what is not known is its slug in capitals. */
static void name_region(const char *slug, char ret[64])
{
    for (size_t i = 0; i < ARRAY_LEN(cities); i++) {
        size_t len = strlen(cities[i].prefix);
        if (strncmp(slug, cities[i].prefix, len) != 0)
            continue;
        (void)snprintf(ret, 64, "%s%s%s", cities[i].name, slug[len] != 0 ? " " : "", slug + len);
        return;
    }
    size_t n = 0;
    for (; slug[n] != 0 && n < 63; n++)
        ret[n] = slug[n] >= 'a' && slug[n] <= 'z' ? (char)(slug[n] - 'a' + 'A') : slug[n];
    ret[n] = 0;
}

static bool is_slug(const char *text)
{
    size_t len = strlen(text);
    return len > 0 && len < 32 && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789") == len;
}

static int seed_region(struct sql *db, const char *slug, struct error *err)
{
    char name[64];

    if (!is_slug(slug))
        return error_set(err, ERR_INVALID, "region \"%.40s\": only a-z and 0-9, at most 31", slug);
    name_region(slug, name);
    struct sql_value values[] = {SQL_T(slug), SQL_T(name), SQL_T(FEATURES)};
    int64_t r = sql_exec(db, INSERT_REGION, values, ARRAY_LEN(values), err);
    if (r < 0)
        return error_in(err, "region %s", slug);
    return addresses_seed(db, slug, err);
}

static int seed_sizes(struct sql *db, struct error *err)
{
    struct sql_value values[ARRAY_LEN(sizes) * SIZE_COLUMNS];

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        const struct sql_value row[SIZE_COLUMNS] = {
            SQL_T(sizes[i].slug),       SQL_T(sizes[i].description), SQL_U(sizes[i].vcpus),
            SQL_U(sizes[i].memory_mib), SQL_U(sizes[i].disk_gib),    SQL_T(sizes[i].transfer_tb),
            SQL_T(sizes[i].monthly),    SQL_T(sizes[i].hourly),
        };
        memcpy(values + i * SIZE_COLUMNS, row, sizeof row);
    }
    int64_t r = sql_exec_array(db, INSERT_SIZE, values, SIZE_COLUMNS, ARRAY_LEN(sizes), err);
    return r < 0 ? error_in(err, "sizes") : 0;
}

static int seed_images(struct sql *db, struct error *err)
{
    struct sql_value values[ARRAY_LEN(images) * IMAGE_COLUMNS];
    char urls[ARRAY_LEN(images)][128], names[ARRAY_LEN(images)][64], none[65];
    int64_t now_ms = unix_ms();

    memset(none, '0', 64);
    none[64] = 0;
    for (size_t i = 0; i < ARRAY_LEN(images); i++) {
        /* A place holder until `seed --image` says where it is: only simulated agents accept it. */
        (void)snprintf(urls[i], sizeof urls[i], "file:///var/lib/harpoon/images/%s.qcow2",
                       images[i].slug);
        (void)snprintf(names[i], sizeof names[i], "%s %s", images[i].distribution, images[i].name);
        const struct sql_value row[IMAGE_COLUMNS] = {
            SQL_U(images[i].id),
            SQL_T(images[i].slug),
            SQL_T(images[i].name),
            SQL_T(images[i].distribution),
            SQL_U(images[i].min_disk_gib),
            SQL_T(images[i].size_gigabytes),
            SQL_T(names[i]),
            SQL_T(urls[i]),
            SQL_T(none),
            SQL_I(now_ms),
        };
        memcpy(values + i * IMAGE_COLUMNS, row, sizeof row);
    }
    int64_t r = sql_exec_array(db, INSERT_IMAGE, values, IMAGE_COLUMNS, ARRAY_LEN(images), err);
    return r < 0 ? error_in(err, "images") : 0;
}

static int seed_account(struct sql *db, struct error *err)
{
    struct account account = {
        .id.v = 1,
        .email = "dev@harpoon.example",
        .name = "Development",
    };

    return accounts_create(db, &account, err);
}

int seed_catalog(struct sql *db, const char *regions, struct error *err)
{
    char *copy = strdup(regions), *rest = copy;
    int made = 0, r = copy != NULL ? 0 : error_set(err, ERR_INTERNAL, "out of memory");

    for (char *slug = strsep(&rest, ","); slug != NULL && r >= 0; slug = strsep(&rest, ",")) {
        r = seed_region(db, slug, err);
        made += r > 0;
    }
    free(copy);
    if (r >= 0)
        r = seed_sizes(db, err);
    if (r >= 0)
        r = seed_images(db, err);
    if (r >= 0)
        r = seed_account(db, err);
    return r < 0 ? r : made;
}

int seed_image(struct sql *db, const char *text, struct error *err)
{
    const char *equals = strchr(text, '='), *comma = strrchr(text, ',');
    char slug[64], url[1025], sha256[65];

    if (equals == NULL || comma == NULL || comma < equals || equals == text ||
        (size_t)(equals - text) >= sizeof slug || (size_t)(comma - equals - 1) >= sizeof url ||
        comma == equals + 1 || strlen(comma + 1) != 64 ||
        strspn(comma + 1, "0123456789abcdef") != 64)
        return error_set(err, ERR_INVALID,
                         "image \"%.80s\": SLUG=URL,SHA256 is expected, 64 lower-case hex digits",
                         text);
    (void)snprintf(slug, sizeof slug, "%.*s", (int)(equals - text), text);
    (void)snprintf(url, sizeof url, "%.*s", (int)(comma - equals - 1), equals + 1);
    (void)snprintf(sha256, sizeof sha256, "%s", comma + 1);
    struct sql_value values[] = {SQL_T(url), SQL_T(sha256), SQL_T(slug)};
    int64_t r = sql_exec(db, SET_IMAGE, values, ARRAY_LEN(values), err);
    if (r == 0)
        return error_set(err, ERR_NOT_FOUND, "there is no public image %s", slug);
    return r < 0 ? error_in(err, "image %s", slug) : 0;
}
