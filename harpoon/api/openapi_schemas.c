#include "harpoon/api/openapi.h"
#include "lib/macros.h"

#include <ctype.h>
#include <string.h>

struct schema {
    const char *name, *fields;
};

static const struct schema schemas[] = {
    {"Error", "id string, message string, request_id? string"},
    {"Links", "pages? Pages"},
    {"Pages", "first? string, prev? string, next? string, last? string"},
    {"Meta", "total integer"},

    {"Account", "droplet_limit integer, floating_ip_limit integer, reserved_ip_limit integer,"
                " volume_limit integer, email string, name string, uuid string,"
                " email_verified boolean, status string(active|warning|locked),"
                " status_message string, team Team"},
    {"Team", "uuid string, name string"},
    {"Key", "id integer, fingerprint string, public_key string, name string"},
    {"KeyCreate", "name string, public_key string"},
    {"KeyUpdate", "name string"},

    {"Region", "slug string, name string, available boolean, features []string, sizes []string"},
    {"Size", "slug string, memory integer, vcpus integer, disk integer, transfer number,"
             " price_monthly number, price_hourly number, regions []string, available boolean,"
             " description string, disk_info []DiskInfo"},
    {"DiskInfo", "type string, size DiskSize"},
    {"DiskSize", "amount integer, unit string"},
    {"Image", "id integer, name string, type string(base|snapshot|backup|custom),"
              " distribution string, slug string?, public boolean, regions []string,"
              " created_at time, min_disk_size integer, size_gigabytes number, description string,"
              " tags []string, status string(available|NEW|pending|deleted|retired),"
              " error_message string"},
    {"Snapshot", "id string, name string, created_at time, regions []string,"
                 " min_disk_size integer, size_gigabytes number, resource_id string,"
                 " resource_type string(droplet|volume), tags []string"},

    {"Droplet", "id integer, name string, memory integer, vcpus integer, disk integer,"
                " disk_info []DiskInfo, locked boolean, status string(new|active|off|archive),"
                " kernel Kernel?, created_at time, features []string, backup_ids []integer,"
                " next_backup_window BackupWindow?, snapshot_ids []integer, image Image?,"
                " volume_ids []string, size Size?, size_slug string, networks Networks,"
                " region Region?, tags []string, vpc_uuid? string"},
    {"Networks", "v4 []Network4, v6 []Network6"},
    {"Network4", "ip_address string, netmask string, gateway string,"
                 " type string(public|private)"},
    {"Network6", "ip_address string, netmask integer, gateway string, type string(public)"},
    {"Kernel", "id integer, name string, version string"},
    {"BackupWindow", "start time, end time"},
    {"DropletCreate", "name? string, names? []string, region? string?, size string,"
                      " image string|integer, ssh_keys? []string|integer, backups? boolean?,"
                      " backup_policy? any, ipv6? boolean?, monitoring? boolean?, tags? []string,"
                      " user_data? string?, with_droplet_agent? boolean?"},
    {"CreateLinks", "actions []ActionLink"},
    {"ActionLink", "id integer, rel string, href string"},
    {"DropletSnapshot", "id integer, name string, created_at time, regions []string,"
                        " min_disk_size integer, size_gigabytes number,"
                        " type string(snapshot|backup)"},
    {"BackupPolicy", "droplet_id integer, backup_enabled boolean, backup_policy BackupPlan?,"
                     " next_backup_window BackupWindow?"},
    {"BackupPlan", "plan string(daily|weekly), weekday? string?, hour integer,"
                   " window_length_hours integer, retention_period_days integer"},
    {"SupportedPolicy", "name string, possible_window_starts []integer,"
                        " window_length_hours integer, retention_period_days integer,"
                        " possible_days []string"},
    {"Associated", "id string, name string, cost string"},

    {"Action", "id integer, status string(in-progress|completed|errored), type string,"
               " started_at time, completed_at time?, resource_id integer, resource_type string,"
               " region Region?, region_slug string?"},

    {"Tag", "name string, resources TagUse"},
    {"TagUse", "count integer, droplets TagCount, images TagCount, volumes TagCount,"
               " volume_snapshots TagCount, databases TagCount"},
    {"TagCount", "count integer"},
    {"TagCreate", "name string"},
    {"TagResources", "resources []TagResource"},
    {"TagResource", "resource_id string|integer,"
                    " resource_type string(droplet|image|volume|volume_snapshot|database)"},
};

static bool starts(const char **p, const char *word)
{
    size_t len = strlen(word);

    if (strncmp(*p, word, len) != 0 || isalnum((unsigned char)(*p)[len]))
        return false;
    *p += len;
    return true;
}

/* "(one|two)". */
static json_t *read_choices(const char **p)
{
    json_t *list = json_array();

    while (**p != 0 && **p != ')') {
        (*p)++;
        size_t len = strcspn(*p, "|)");
        json_array_append_new(list, json_stringn(*p, len));
        *p += len;
    }
    *p += **p == ')';
    return list;
}

static json_t *read_name(const char **p)
{
    static const char *const plain[] = {"integer", "number", "boolean"};

    if (starts(p, "any"))
        return json_object();
    if (starts(p, "time"))
        return json_pack("{s:s, s:s}", "type", "string", "format", "date-time");
    if (starts(p, "string|integer"))
        return json_pack("{s:[s, s]}", "type", "string", "integer");
    if (starts(p, "string")) {
        json_t *type = json_pack("{s:s}", "type", "string");
        if (**p == '(')
            json_object_set_new(type, "enum", read_choices(p));
        return type;
    }
    for (size_t i = 0; i < ARRAY_LEN(plain); i++)
        if (starts(p, plain[i]))
            return json_pack("{s:s}", "type", plain[i]);
    size_t len = 0;
    while (isalnum((unsigned char)(*p)[len]))
        len++;
    if (len == 0 || !isupper((unsigned char)**p))
        return NULL;
    json_t *ref =
        json_pack("{s:o}", "$ref", json_sprintf("#/components/schemas/%.*s", (int)len, *p));
    *p += len;
    return ref;
}

static json_t *read_type(const char **p)
{
    const char *list = strncmp(*p, "[]", 2) == 0 ? "array" : NULL;

    if (list != NULL || strncmp(*p, "{}", 2) == 0) {
        *p += 2;
        json_t *inside = read_type(p);
        if (inside == NULL)
            return NULL;
        return json_pack("{s:s, s:o}", "type", list != NULL ? list : "object",
                         list != NULL ? "items" : "additionalProperties", inside);
    }
    json_t *type = read_name(p);
    if (type != NULL && **p == '?') {
        ++*p;
        type = json_pack("{s:[o, {s:s}]}", "anyOf", type, "type", "null");
    }
    return type;
}

/* One "name type" into `properties`, and into `required` unless it says otherwise. */
static bool read_field(const char **p, json_t *properties, json_t *required)
{
    size_t len = strspn(*p, "abcdefghijklmnopqrstuvwxyz0123456789_");
    json_t *name = json_stringn(*p, len);

    *p += len;
    bool optional = **p == '?';
    *p += optional;
    json_t *type = len > 0 && **p == ' ' ? (++*p, read_type(p)) : NULL;
    bool good = type != NULL && json_object_set_new(properties, json_string_value(name), type) == 0;
    if (good && !optional)
        json_array_append(required, name);
    json_decref(name);
    return good;
}

json_t *openapi_object(const char *fields)
{
    json_t *properties = json_object(), *required = json_array();
    const char *p = fields;
    bool good = true;

    while (good && *p != 0) {
        good = read_field(&p, properties, required);
        if (good && *p == ',')
            p += 1 + strspn(p + 1, " ");
        else
            good = good && *p == 0;
    }
    json_t *schema = json_pack("{s:s, s:o}", "type", "object", "properties", properties);
    if (json_array_size(required) > 0)
        json_object_set(schema, "required", required);
    json_decref(required);
    if (!good) {
        json_decref(schema);
        return NULL;
    }
    return schema;
}

json_t *openapi_schemas(void)
{
    json_t *all = json_object();

    for (size_t i = 0; i < ARRAY_LEN(schemas); i++)
        json_object_set_new(all, schemas[i].name, openapi_object(schemas[i].fields));
    return all;
}
