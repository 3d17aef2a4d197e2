#include "hypervisor-agent/packed.h"
#include "support.h"

#include <stdlib.h>

static char installation[] = "6f0a1f2e-31f5-4f0e-9d6f-0d7a9a0c0b11";
static char uuid[] = "0b0f6f0e-6a3e-5a4e-8b3e-2f3c4d5e6f70";

static Harpoon__Job__V1__DropletSpec spec_of(void)
{
    Harpoon__Job__V1__DropletSpec spec = HARPOON__JOB__V1__DROPLET_SPEC__INIT;

    spec.vcpus = 1;
    spec.memory_mib = 1024;
    spec.disk_gib = 25;
    return spec;
}

static Harpoon__Job__V1__Job job_of(Harpoon__Job__V1__DropletSpec *spec)
{
    Harpoon__Job__V1__Job job = HARPOON__JOB__V1__JOB__INIT;

    job.installation_id = installation;
    job.droplet_uuid = uuid;
    job.event_id = 10;
    job.droplet_id = 20;
    job.attempt = 1;
    job.kind = HARPOON__JOB__V1__KIND__KIND_CREATE;
    job.spec = spec;
    return job;
}

static void a_whole_job_is_valid(void **state)
{
    Harpoon__Job__V1__DropletSpec spec = spec_of();
    Harpoon__Job__V1__Job job = job_of(&spec);

    UNUSED(state);
    assert_true(packed_is_valid(&job));
    job.kind = HARPOON__JOB__V1__KIND__KIND_DESTROY;
    job.spec = NULL;
    assert_true(packed_is_valid(&job));
    assert_int_equal(packed_kind(&job), JOB_DESTROY);
}

static void what_lacks_something_is_not(void **state)
{
    Harpoon__Job__V1__DropletSpec spec = spec_of(), empty = HARPOON__JOB__V1__DROPLET_SPEC__INIT;
    static char no_uuid[] = "x";
    uint8_t *big = calloc(1, PACKED_MAX_JOB);

    UNUSED(state);
#define REFUSED_WITH(change)                                                                       \
    do {                                                                                           \
        Harpoon__Job__V1__Job job = job_of(&spec);                                                 \
        change;                                                                                    \
        if (packed_is_valid(&job))                                                                 \
            fail_msg("valid in spite of " #change);                                                \
    } while (0)
    REFUSED_WITH(job.kind = HARPOON__JOB__V1__KIND__KIND_UNSPECIFIED);
    REFUSED_WITH(job.kind = (Harpoon__Job__V1__Kind)9);
    REFUSED_WITH(job.event_id = 0);
    REFUSED_WITH(job.event_id = UINT64_C(1) << 53);
    REFUSED_WITH(job.droplet_id = 0);
    REFUSED_WITH(job.attempt = 0);
    REFUSED_WITH(job.installation_id = no_uuid);
    REFUSED_WITH(job.droplet_uuid = no_uuid);
    REFUSED_WITH(job.spec = NULL);
    REFUSED_WITH(job.spec = &empty);
    spec.user_data.data = big;
    spec.user_data.len = PACKED_MAX_JOB;
    REFUSED_WITH(job.spec = &spec);
    free(big);
}

static void what_is_stripped_can_still_be_undone(void **state)
{
    Harpoon__Job__V1__DropletSpec spec = spec_of();
    Harpoon__Job__V1__Job job = job_of(&spec);
    size_t size, stripped_size;
    uint8_t *bytes = packed_job(&job, &size), *stripped = NULL, *again = NULL;

    UNUSED(state);
    assert_true(packed_strip(bytes, size, &stripped, &stripped_size));
    assert_true(stripped_size < size);
    Harpoon__Job__V1__Job *open = packed_open(stripped, stripped_size);
    assert_null(open->spec);
    assert_string_equal(open->droplet_uuid, uuid);
    assert_int_equal(open->event_id, 10);
    harpoon__job__v1__job__free_unpacked(open, NULL);
    assert_false(packed_strip(stripped, stripped_size, &again, &size));
    assert_null(packed_open((const uint8_t *)"\xff\xff\xff", 3));
    free(bytes);
    free(stripped);
}

static void a_removal_names_the_droplet_as_its_create_would(void **state)
{
    Harpoon__Job__V1__Job *job =
        packed_removal("6ba7b810-9dad-11d1-80b4-00c04fd430c8", (droplet_id){42}, (event_id){7}, 1);

    UNUSED(state);
    assert_string_equal(job->droplet_uuid, "7c411b5e-9d3f-50b5-9c28-62096e41c4ed");
    assert_int_equal(job->droplet_id, 42);
    assert_int_equal(packed_kind(job), JOB_DESTROY);
    harpoon__job__v1__job__free_unpacked(job, NULL);
    assert_null(packed_removal("", (droplet_id){42}, (event_id){7}, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_job_is_valid),
        cmocka_unit_test(what_lacks_something_is_not),
        cmocka_unit_test(what_is_stripped_can_still_be_undone),
        cmocka_unit_test(a_removal_names_the_droplet_as_its_create_would),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
