#include "hypervisor-agent/driver/libvirt_errors.h"

#include "lib/macros.h"
#include "tests/unit/hypervisor-agent/driver/support.h"

#include <errno.h>
#include <libvirt/virterror.h>

/* What was seen of libvirt 9.0 with QEMU and with its test driver. */
static void what_libvirt_says_is_read_as_it_was_seen(void **state)
{
    static const struct {
        const char *situation;
        enum libvirt_step step;
        int code, domain, error_number;
        enum libvirt_verdict wanted;
    } seen[] = {
        {"no such domain", LIBVIRT_LOOKUP, VIR_ERR_NO_DOMAIN, VIR_FROM_QEMU, 0, VERDICT_DONE},
        {"name or uuid of another", LIBVIRT_DEFINE, VIR_ERR_OPERATION_FAILED, VIR_FROM_DOMAIN, 0,
         VERDICT_CONFLICT},
        {"runs already", LIBVIRT_START, VIR_ERR_OPERATION_INVALID, VIR_FROM_QEMU, 0, VERDICT_LOOK},
        {"runs already, test driver", LIBVIRT_START, VIR_ERR_INTERNAL_ERROR, VIR_FROM_TEST, 0,
         VERDICT_LOOK},
        {"gone before it started", LIBVIRT_START, VIR_ERR_NO_DOMAIN, VIR_FROM_QEMU, 0,
         VERDICT_LOOK},
        {"does not run", LIBVIRT_DESTROY, VIR_ERR_OPERATION_INVALID, VIR_FROM_QEMU, 0,
         VERDICT_DONE},
        {"gone before it was destroyed", LIBVIRT_DESTROY, VIR_ERR_NO_DOMAIN, VIR_FROM_QEMU, 0,
         VERDICT_DONE},
        {"not defined", LIBVIRT_UNDEFINE, VIR_ERR_NO_DOMAIN, VIR_FROM_QEMU, 0, VERDICT_DONE},
        {"started again meanwhile", LIBVIRT_UNDEFINE, VIR_ERR_OPERATION_INVALID, VIR_FROM_QEMU, 0,
         VERDICT_LOOK},
        {"daemon killed under the call", LIBVIRT_START, VIR_ERR_SYSTEM_ERROR, VIR_FROM_RPC, EIO,
         VERDICT_RETRY},
        {"daemon killed before the call", LIBVIRT_LOOKUP, VIR_ERR_INTERNAL_ERROR, VIR_FROM_RPC, 0,
         VERDICT_RETRY},
        {"disk missing", LIBVIRT_START, VIR_ERR_SYSTEM_ERROR, VIR_FROM_STORAGE, ENOENT,
         VERDICT_FATAL},
        {"disk full", LIBVIRT_START, VIR_ERR_SYSTEM_ERROR, VIR_FROM_QEMU, ENOSPC, VERDICT_FATAL},
        {"QEMU died at once", LIBVIRT_START, VIR_ERR_INTERNAL_ERROR, VIR_FROM_QEMU, 0,
         VERDICT_FATAL},
        {"XML refused", LIBVIRT_DEFINE, VIR_ERR_XML_INVALID_SCHEMA, VIR_FROM_XML, 0, VERDICT_FATAL},
        {"monitor busy", LIBVIRT_START, VIR_ERR_OPERATION_TIMEOUT, VIR_FROM_QEMU, 0, VERDICT_RETRY},
        {"QEMU does not die", LIBVIRT_DESTROY, VIR_ERR_SYSTEM_ERROR, VIR_FROM_QEMU, EBUSY,
         VERDICT_RETRY},
        {"never seen, on a removal", LIBVIRT_UNDEFINE, 99999, VIR_FROM_NONE, 0, VERDICT_RETRY},
        {"never seen, on a start", LIBVIRT_START, 99999, VIR_FROM_NONE, 0, VERDICT_FATAL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(seen); i++) {
        struct libvirt_failure failure = {.code = seen[i].code,
                                          .domain = seen[i].domain,
                                          .error_number = seen[i].error_number};
        if (libvirt_verdict_of(seen[i].step, &failure) != seen[i].wanted)
            fail_msg("%s: another verdict", seen[i].situation);
    }
}

static void no_failure_ends_a_removal(void **state)
{
    (void)state;
    for (int code = 0; code < 200; code++)
        for (int domain = 0; domain < 80; domain++) {
            struct libvirt_failure failure = {.code = code, .domain = domain};
            assert_int_not_equal(libvirt_verdict_of(LIBVIRT_DESTROY, &failure), VERDICT_FATAL);
            assert_int_not_equal(libvirt_verdict_of(LIBVIRT_UNDEFINE, &failure), VERDICT_FATAL);
            assert_int_not_equal(libvirt_verdict_of(LIBVIRT_LOOKUP, &failure), VERDICT_FATAL);
        }
}

static void a_lost_connection_is_told_from_a_failed_guest(void **state)
{
    struct libvirt_failure lost = {.code = VIR_ERR_SYSTEM_ERROR, .domain = VIR_FROM_RPC};
    struct libvirt_failure full = {.code = VIR_ERR_SYSTEM_ERROR,
                                   .domain = VIR_FROM_QEMU,
                                   .error_number = ENOSPC};
    struct libvirt_failure memory = {.code = VIR_ERR_SYSTEM_ERROR,
                                     .domain = VIR_FROM_QEMU,
                                     .error_number = ENOMEM};

    (void)state;
    assert_true(libvirt_failure_is_connection(&lost));
    assert_false(libvirt_failure_is_connection(&full));
    assert_string_equal(libvirt_failure_reason(&full), "host_disk_full");
    assert_string_equal(libvirt_failure_reason(&memory), "host_memory_full");
    assert_string_equal(libvirt_failure_reason(&lost), "hypervisor_error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_libvirt_says_is_read_as_it_was_seen),
        cmocka_unit_test(no_failure_ends_a_removal),
        cmocka_unit_test(a_lost_connection_is_told_from_a_failed_guest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
