#include "harpoon/api/message.h"
#include "harpoon/api/publisher.h"
#include "harpoon/store/accept_params.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static const struct uuid installation = {.b = {1, 2, 3}};
static struct region nyc3 = {.slug = "nyc3"};
static struct size small = {.slug = "s-1", .vcpus = 1, .memory_mib = 512, .disk_gib = 10};
static struct image debian = {
    .id = 1003, .slug = "debian-12-x64", .url = "file:///x", .sha256 = "ab", .min_disk_gib = 7};

/* A create's params, as the accepting transaction packs them. */
static uint8_t *pack(size_t user_data_size, size_t *ret_size)
{
    static const char *keys[] = {"ssh-ed25519 AAAA me", "ssh-ed25519 BBBB you"};
    char *data = calloc(user_data_size + 1, 1);
    struct accept_request r = {
        .region = &nyc3,
        .size = &small,
        .image = &debian,
        .ssh_keys = keys,
        .ssh_key_count = 2,
        .user_data = data,
        .user_data_size = user_data_size,
        .trace_id = "0123",
    };
    struct accept_droplet d = {.name = "a.b",
                               .id.v = 17,
                               .public_ipv4 = 0x64401005,
                               .private_ipv4 = 0x0A001005};
    struct error err;
    uint8_t *packed = NULL;

    assert_int_equal(accept_params_pack(&r, &d, &installation, &packed, ret_size, &err), 0);
    free(data);
    return packed;
}

static void params_say_all_that_a_create_needs(void **state)
{
    size_t size = 0;
    uint8_t *packed = pack(3, &size);
    Harpoon__Event__V1__Params *p = harpoon__event__v1__params__unpack(NULL, size, packed);

    (void)state;
    assert_non_null(p);
    assert_string_equal(p->spec->name, "a.b");
    assert_int_equal(p->spec->memory_mib, 512);
    assert_string_equal(p->spec->image->url, "file:///x");
    assert_int_equal(p->spec->n_ssh_keys, 2);
    assert_int_equal(p->spec->user_data.len, 3);
    assert_int_equal(p->spec->n_addresses, 2);
    assert_string_equal(p->spec->addresses[0]->address, "100.64.16.5");
    assert_string_equal(p->spec->addresses[0]->gateway, "100.64.16.1");
    assert_int_equal(p->spec->addresses[0]->prefix_length, 20);
    assert_string_equal(p->spec->addresses[1]->address, "10.0.16.5");
    assert_string_equal(p->spec->addresses[1]->gateway, "");
    assert_int_equal(strlen(p->droplet_uuid), 36);
    assert_string_equal(p->trace_id, "0123");
    harpoon__event__v1__params__free_unpacked(p, NULL);
    free(packed);
}

/* Sizes around the lengths at which their prefix grows. */
static void message_with_packed_params_reads_as_one_with_a_message(void **state)
{
    static const size_t sizes[] = {0, 1, 60, 127, 128, 5000, 16384, 65536};
    struct event event = {.id.v = 5,
                          .droplet.v = 17,
                          .account.v = 7,
                          .type = EVENT_CREATE,
                          .region = "nyc3",
                          .state = EVENT_PENDING,
                          .attempt = 1,
                          .created_ms = 1000,
                          .deadline_ms = 2000,
                          .excluded = {3, 4},
                          .excluded_count = 2};
    char journal[UUID_TEXT];
    Harpoon__Event__V1__Event head;
    struct error err;

    (void)state;
    message_fill(&event, journal, 1500, &head);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        size_t params_size = 0, size = 0;
        uint8_t *params = pack(sizes[i], &params_size), *bytes = NULL;
        assert_int_equal(publisher_encode(&head, params, params_size, &bytes, &size, &err), 0);
        Harpoon__Event__V1__Event *e = harpoon__event__v1__event__unpack(NULL, size, bytes);
        assert_non_null(e);
        assert_int_equal(e->version, 1);
        assert_int_equal(e->event_id, 5);
        assert_string_equal(e->region, "nyc3");
        assert_string_equal(e->journal_id, "");
        assert_int_equal(e->published_unix_ms, 1500);
        assert_int_equal(e->n_excluded_hypervisor_ids, 2);
        assert_int_equal(e->params->spec->user_data.len, sizes[i]);
        assert_string_equal(e->params->trace_id, "0123");
        harpoon__event__v1__event__free_unpacked(e, NULL);
        free(bytes);
        free(params);
    }
}

static void message_of_a_dispatched_row_names_its_journal(void **state)
{
    struct event event = {.state = EVENT_DISPATCHED, .hypervisor.v = 9, .journal.b = {0xAB}};
    char journal[UUID_TEXT];
    Harpoon__Event__V1__Event head;

    (void)state;
    message_fill(&event, journal, 1, &head);
    assert_string_equal(head.journal_id, "ab000000-0000-0000-0000-000000000000");
    assert_int_equal(head.hypervisor_id, 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(params_say_all_that_a_create_needs),
        cmocka_unit_test(message_with_packed_params_reads_as_one_with_a_message),
        cmocka_unit_test(message_of_a_dispatched_row_names_its_journal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
