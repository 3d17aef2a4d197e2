#include "scheduler/requests.h"

#include "tests/unit/scheduler/support.h"

#include <string.h>

/* A request of `count` good items, to be spoilt. */
struct asked {
    Harpoon__Scheduler__V1__PlaceRequest request;
    Harpoon__Scheduler__V1__PlaceItem items[ITEMS_MAX + 1];
    Harpoon__Scheduler__V1__PlaceItem *list[ITEMS_MAX + 1];
    Harpoon__Scheduler__V1__Resources size;
};

static struct asked *asked_with(size_t count)
{
    static struct asked a;

    harpoon__scheduler__v1__place_request__init(&a.request);
    harpoon__scheduler__v1__resources__init(&a.size);
    a.size.vcpus = a.size.memory_mib = a.size.disk_gib = 1;
    for (size_t i = 0; i < count; i++) {
        harpoon__scheduler__v1__place_item__init(&a.items[i]);
        a.items[i].event_id = i + 1;
        a.items[i].attempt = 1;
        a.items[i].droplet_id = i + 1;
        a.items[i].size = &a.size;
        a.list[i] = &a.items[i];
    }
    a.request.n_items = count;
    a.request.items = a.list;
    return &a;
}

static void is_refused(const struct asked *a, const char *field)
{
    struct error err;

    assert_int_equal(place_request_check(&a->request, &err), ERR_INVALID);
    assert_non_null(strstr(err.message, field));
}

static void good_request_is_taken(void **state)
{
    struct error err;

    (void)state;
    assert_int_equal(place_request_check(&asked_with(0)->request, &err), 0);
    assert_int_equal(place_request_check(&asked_with(ITEMS_MAX)->request, &err), 0);
}

static void more_than_a_thousand_items_are_refused(void **state)
{
    (void)state;
    is_refused(asked_with(ITEMS_MAX + 1), "items: 1001");
}

static void size_of_nothing_or_beyond_measure_is_refused(void **state)
{
    struct asked *a = asked_with(3);

    (void)state;
    a->size.vcpus = 0;
    is_refused(a, "items[0].size.vcpus");
    a->size.vcpus = CLAIM_MAX.vcpus + 1;
    is_refused(a, "items[0].size.vcpus");
    a = asked_with(3);
    a->size.memory_mib = UINT32_MAX;
    is_refused(a, "items[0].size.memory_mib");
    a = asked_with(3);
    a->size.disk_gib = 0;
    is_refused(a, "items[0].size.disk_gib");
    a = asked_with(3);
    a->items[2].size = NULL;
    is_refused(a, "items[2].size");
}

static void number_out_of_range_is_refused(void **state)
{
    struct asked *a = asked_with(2);

    (void)state;
    a->items[1].event_id = 0;
    is_refused(a, "items[1].event_id");
    a->items[1].event_id = UINT64_C(1) << 53;
    is_refused(a, "items[1].event_id");
    a = asked_with(2);
    a->items[1].attempt = 0;
    is_refused(a, "items[1].attempt");
    a->items[1].attempt = 65536;
    is_refused(a, "items[1].attempt");
    a = asked_with(2);
    a->items[0].droplet_id = 0;
    is_refused(a, "items[0].droplet_id");
}

static void same_event_and_attempt_twice_is_refused(void **state)
{
    struct asked *a = asked_with(5);
    struct error err;

    (void)state;
    a->items[3].event_id = 2;
    a->items[3].attempt = 2; /* another attempt is another question */
    assert_int_equal(place_request_check(&a->request, &err), 0);
    a->items[3].attempt = 1;
    is_refused(a, "items[3].event_id: 2 with attempt 1 is items[1], too");
}

static void long_list_of_excluded_hypervisors_is_refused(void **state)
{
    static uint64_t ids[EXCLUDED_MAX + 1];
    struct asked *a = asked_with(1);

    (void)state;
    a->items[0].excluded_hypervisor_ids = ids;
    a->items[0].n_excluded_hypervisor_ids = EXCLUDED_MAX + 1;
    is_refused(a, "items[0].excluded_hypervisor_ids");
}

static void release_names_a_claim_or_a_droplet(void **state)
{
    Harpoon__Scheduler__V1__ReleaseRequest q = HARPOON__SCHEDULER__V1__RELEASE_REQUEST__INIT;
    Harpoon__Scheduler__V1__ReleaseItem item = HARPOON__SCHEDULER__V1__RELEASE_ITEM__INIT;
    Harpoon__Scheduler__V1__ReleaseItem *list[] = {&item};
    struct error err;

    (void)state;
    q.n_items = 1;
    q.items = list;
    assert_int_equal(release_request_check(&q, &err), ERR_INVALID);
    item.droplet_id = 5;
    assert_int_equal(release_request_check(&q, &err), 0);
    item.event_id = 6;
    assert_int_equal(release_request_check(&q, &err), ERR_INVALID);
    assert_non_null(strstr(err.message, "items[0].attempt"));
    item.attempt = 1;
    assert_int_equal(release_request_check(&q, &err), 0);
}

static void status_new_cannot_be_set(void **state)
{
    Harpoon__Scheduler__V1__SetStatusRequest q = HARPOON__SCHEDULER__V1__SET_STATUS_REQUEST__INIT;
    struct error err;

    (void)state;
    q.all_new = true;
    q.status = HARPOON__SCHEDULER__V1__HYPERVISOR_STATUS__HYPERVISOR_STATUS_NEW;
    assert_int_equal(set_status_request_check(&q, &err), ERR_INVALID);
    q.status = 99;
    assert_int_equal(set_status_request_check(&q, &err), ERR_INVALID);
    q.status = HARPOON__SCHEDULER__V1__HYPERVISOR_STATUS__HYPERVISOR_STATUS_UP;
    assert_int_equal(set_status_request_check(&q, &err), 0);
    q.all_new = false;
    assert_int_equal(set_status_request_check(&q, &err), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_request_is_taken),
        cmocka_unit_test(more_than_a_thousand_items_are_refused),
        cmocka_unit_test(size_of_nothing_or_beyond_measure_is_refused),
        cmocka_unit_test(number_out_of_range_is_refused),
        cmocka_unit_test(same_event_and_attempt_twice_is_refused),
        cmocka_unit_test(long_list_of_excluded_hypervisors_is_refused),
        cmocka_unit_test(release_names_a_claim_or_a_droplet),
        cmocka_unit_test(status_new_cannot_be_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
