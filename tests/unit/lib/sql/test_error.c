#include "lib/sql/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void each_number_has_its_code(void **state)
{
    static const struct {
        unsigned number;
        int code;
        bool lost;
    } want[] = {
        {1213, ERR_BUSY, false},        {1205, ERR_BUSY, false},
        {1020, ERR_BUSY, false},        {1062, ERR_CONFLICT, false},
        {1586, ERR_CONFLICT, false},    {1969, ERR_DEADLINE, false},
        {3024, ERR_DEADLINE, false},    {1021, ERR_UNAVAILABLE, false},
        {1114, ERR_UNAVAILABLE, false}, {1317, ERR_UNAVAILABLE, false},
        {1040, ERR_UNAVAILABLE, true},  {1047, ERR_UNAVAILABLE, true},
        {1053, ERR_UNAVAILABLE, true},  {1290, ERR_UNAVAILABLE, true},
        {1927, ERR_UNAVAILABLE, true},  {2002, ERR_UNAVAILABLE, true},
        {2003, ERR_UNAVAILABLE, true},  {2006, ERR_UNAVAILABLE, true},
        {2013, ERR_UNAVAILABLE, true},  {2027, ERR_UNAVAILABLE, true},
        {2014, ERR_INTERNAL, true},     {2031, ERR_INTERNAL, false},
        {1064, ERR_INTERNAL, false},    {1146, ERR_INTERNAL, false},
        {1142, ERR_INTERNAL, false},    {1366, ERR_INTERNAL, false},
    };
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        bool lost;
        int code = sql_error_code(want[i].number, &lost);
        if (code != want[i].code || lost != want[i].lost)
            fail_msg("%u: %d, lost %d", want[i].number, code, lost);
    }
}

static void a_deadlock_dooms_its_transaction_and_a_conflict_does_not(void **state)
{
    struct sql db = {.pinned = true};
    struct error err;
    UNUSED(state);
    assert_int_equal(sql_failed(&db, 1062, "duplicate", &err), ERR_CONFLICT);
    assert_int_equal(db.doomed, 0);
    assert_int_equal(sql_failed(&db, 1213, "deadlock", &err), ERR_BUSY);
    assert_int_equal(db.doomed, ERR_BUSY);
    assert_string_equal(err.message, "database: deadlock (1213)");
}

static void outside_a_transaction_nothing_is_doomed(void **state)
{
    struct sql db = {.pinned = false};
    struct error err;
    UNUSED(state);
    assert_int_equal(sql_failed(&db, 1213, "deadlock", &err), ERR_BUSY);
    assert_int_equal(db.doomed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_number_has_its_code),
        cmocka_unit_test(a_deadlock_dooms_its_transaction_and_a_conflict_does_not),
        cmocka_unit_test(outside_a_transaction_nothing_is_doomed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
