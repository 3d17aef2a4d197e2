#include "harpoon/api/view.h"
#include "tests/unit/harpoon/api/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void assert_json(json_t *json, const char *expected)
{
    char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(6));

    assert_string_equal(text, expected);
    free(text);
    json_decref(json);
}

static struct view *make_view(void)
{
    struct view *v = view_new(catalog_for_tests());

    assert_non_null(v);
    return v;
}

static struct droplet_record droplet_with(enum droplet_status status)
{
    static char *tags[] = {"web"};
    return (struct droplet_record){
        .id.v = 17,
        .name = "a.b",
        .region = "nyc3",
        .size = "s-1",
        .image_id = 1001,
        .vcpus = 1,
        .memory_mib = 512,
        .disk_gib = 10,
        .status = status,
        .ipv4 = 0x64400002,
        .private_ipv4 = 0x0A000002,
        .created_ms = 1595356664123,
        .body = "{\"features\":[\"monitoring\"]}",
        .tags = tags,
        .tag_count = 1,
    };
}

static const char *text_of(json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static void droplet_has_every_field_that_clients_read(void **state)
{
    static const char *const keys[] = {
        "id",         "name",         "memory",    "vcpus",    "disk",
        "disk_info",  "locked",       "status",    "kernel",   "created_at",
        "features",   "backup_ids",   "image",     "size",     "next_backup_window",
        "volume_ids", "snapshot_ids", "size_slug", "networks", "region",
        "tags",
    };
    struct view *v = make_view();
    struct droplet_record d = droplet_with(DROPLET_ACTIVE);
    json_t *json = view_droplet(v, &d);

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (json_object_get(json, keys[i]) == NULL)
            fail_msg("%s", keys[i]);
    assert_int_equal(json_object_size(json), ARRAY_LEN(keys));
    assert_string_equal(text_of(json, "created_at"), "2020-07-21T18:37:44Z");
    assert_string_equal(text_of(json, "status"), "active");
    assert_string_equal(text_of(json_object_get(json, "image"), "slug"), "debian-12-x64");
    assert_string_equal(text_of(json_object_get(json, "region"), "name"), "New York 3");
    assert_string_equal(text_of(json_object_get(json, "size"), "slug"), "s-1");
    assert_json(json_incref(json_object_get(json, "features")), "[\"monitoring\"]");
    assert_json(json_incref(json_object_get(json, "tags")), "[\"web\"]");
    json_decref(json);
    view_unref(v);
}

static void networks_are_arrays_and_empty_while_new(void **state)
{
    struct view *v = make_view();
    struct droplet_record d = droplet_with(DROPLET_NEW);
    json_t *json = view_droplet(v, &d);

    UNUSED(state);
    assert_json(json_incref(json_object_get(json, "networks")), "{\"v4\":[],\"v6\":[]}");
    json_decref(json);
    d.status = DROPLET_ACTIVE;
    json = view_droplet(v, &d);
    assert_json(json_incref(json_object_get(json, "networks")),
                "{\"v4\":[{\"ip_address\":\"100.64.0.2\",\"netmask\":\"255.255.240.0\","
                "\"gateway\":\"100.64.0.1\",\"type\":\"public\"},"
                "{\"ip_address\":\"10.0.0.2\",\"netmask\":\"255.255.240.0\",\"gateway\":\"\","
                "\"type\":\"private\"}],\"v6\":[]}");
    json_decref(json);
    view_unref(v);
}

static void droplet_is_locked_while_it_has_an_event(void **state)
{
    struct view *v = make_view();
    struct droplet_record d = droplet_with(DROPLET_ACTIVE);
    json_t *json = view_droplet(v, &d);

    UNUSED(state);
    assert_true(json_is_false(json_object_get(json, "locked")));
    json_decref(json);
    d.event.v = 5;
    json = view_droplet(v, &d);
    assert_true(json_is_true(json_object_get(json, "locked")));
    json_decref(json);
    view_unref(v);
}

static void droplet_of_a_catalogue_that_changed_is_still_shown(void **state)
{
    struct view *v = make_view();
    struct droplet_record d = droplet_with(DROPLET_ACTIVE);

    UNUSED(state);
    d.image_id = 1004; /* deleted: shown */
    strcpy(d.size, "s-none");
    strcpy(d.region, "none");
    strcpy(d.body, "broken");
    json_t *json = view_droplet(v, &d);
    assert_string_equal(text_of(json_object_get(json, "image"), "status"), "retired");
    assert_true(json_is_null(json_object_get(json, "size")));
    assert_true(json_is_null(json_object_get(json, "region")));
    assert_json(json_incref(json_object_get(json, "features")), "[]");
    json_decref(json);
    view_unref(v);
}

static void action_is_in_progress_until_its_event_is_final(void **state)
{
    static const struct {
        enum event_state state;
        const char *status;
    } cases[] = {
        {EVENT_PENDING, "in-progress"}, {EVENT_DISPATCHED, "in-progress"},
        {EVENT_RUNNING, "in-progress"}, {EVENT_SUCCEEDED, "completed"},
        {EVENT_FAILED, "errored"},      {EVENT_CANCELLED, "errored"},
    };
    struct view *v = make_view();

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct action_record a = {.id.v = 5,
                                  .droplet.v = 17,
                                  .type = EVENT_CREATE,
                                  .state = cases[i].state,
                                  .region = "nyc3",
                                  .created_ms = 1595356664000,
                                  .done_ms = event_is_final(cases[i].state) ? 1595356665000 : 0};
        json_t *json = view_action(v, &a);
        assert_string_equal(text_of(json, "status"), cases[i].status);
        assert_string_equal(text_of(json, "type"), "create");
        assert_string_equal(text_of(json, "resource_type"), "droplet");
        assert_int_equal(json_integer_value(json_object_get(json, "resource_id")), 17);
        assert_true(json_is_null(json_object_get(json, "completed_at")) ==
                    !event_is_final(cases[i].state));
        assert_string_equal(text_of(json, "region_slug"), "nyc3");
        json_decref(json);
    }
    view_unref(v);
}

static void region_size_and_image_have_their_shapes(void **state)
{
    struct view *v = make_view();

    UNUSED(state);
    assert_json(view_region(v, "ams3"),
                "{\"slug\":\"ams3\",\"name\":\"Amsterdam 3\",\"available\":true,"
                "\"features\":[\"ipv6\",\"backups\"],\"sizes\":[\"s-1\",\"s-2\"]}");
    assert_json(view_size(v, "s-1"),
                "{\"slug\":\"s-1\",\"memory\":512,\"vcpus\":1,\"disk\":10,\"transfer\":0.5,"
                "\"price_monthly\":4.0,\"price_hourly\":0.00595,"
                "\"regions\":[\"ams3\",\"nyc1\",\"nyc3\"],\"available\":true,"
                "\"description\":\"Basic\",\"disk_info\":[{\"type\":\"local\","
                "\"size\":{\"amount\":10,\"unit\":\"gib\"}}]}");
    assert_json(view_image(v, 1003), "{\"id\":1003,\"name\":\"12 x64\",\"type\":\"snapshot\","
                                     "\"distribution\":\"Debian\",\"slug\":null,\"public\":false,"
                                     "\"regions\":[\"ams3\",\"nyc1\",\"nyc3\"],"
                                     "\"created_at\":\"2020-07-21T18:37:44Z\",\"min_disk_size\":0,"
                                     "\"size_gigabytes\":0.0,\"description\":\"\",\"tags\":[],"
                                     "\"status\":\"available\",\"error_message\":\"\"}");
    view_unref(v);
}

static void account_without_a_limit_shows_a_number(void **state)
{
    struct account a = {.uuid = "u", .email = "e@x", .name = "n"};
    json_t *json = view_account(&a);

    UNUSED(state);
    assert_true(json_integer_value(json_object_get(json, "droplet_limit")) > 100000);
    json_decref(json);
    a.droplet_limit = 3;
    json = view_account(&a);
    assert_int_equal(json_integer_value(json_object_get(json, "droplet_limit")), 3);
    assert_string_equal(text_of(json_object_get(json, "team"), "name"), "n");
    json_decref(json);
}

static void text_that_was_cut_inside_a_character_is_still_text(void **state)
{
    json_t *json = view_text("ab\xc3");

    UNUSED(state);
    assert_string_equal(json_string_value(json), "ab");
    json_decref(json);
}

static void body_lists_the_features_that_were_asked_for(void **state)
{
    char *text = view_format_body(&(struct droplet_features){.monitoring = true});

    UNUSED(state);
    assert_string_equal(text, "{\"features\":[\"monitoring\",\"private_networking\"]}");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(droplet_has_every_field_that_clients_read),
        cmocka_unit_test(networks_are_arrays_and_empty_while_new),
        cmocka_unit_test(droplet_is_locked_while_it_has_an_event),
        cmocka_unit_test(droplet_of_a_catalogue_that_changed_is_still_shown),
        cmocka_unit_test(action_is_in_progress_until_its_event_is_final),
        cmocka_unit_test(region_size_and_image_have_their_shapes),
        cmocka_unit_test(account_without_a_limit_shows_a_number),
        cmocka_unit_test(text_that_was_cut_inside_a_character_is_still_text),
        cmocka_unit_test(body_lists_the_features_that_were_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
