#include "harpoonctl/pki.h"

#include "lib/clock.h"
#include "lib/rpc/rpc.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define DAY_S INT64_C(86400)

static char dir[64];
static struct pki *authority;

static int setup(void **state)
{
    UNUSED(state);
    struct error err;
    snprintf(dir, sizeof(dir), "/tmp/harpoon-pki-XXXXXX");
    assert_non_null(mkdtemp(dir));
    assert_int_equal(pki_init(dir, &err), 1);
    assert_int_equal(pki_open(dir, &authority, &err), 0);
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    UNUSED(st);
    UNUSED(flag);
    UNUSED(ftw);
    return remove(path);
}

static int teardown(void **state)
{
    UNUSED(state);
    authority = pki_close(authority);
    return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static const char *in_dir(const char *name)
{
    static char path[256];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static struct pki_info info_of(const char *name)
{
    struct pki_info info;
    struct error err;
    assert_int_equal(pki_info_load(in_dir(name), &info, &err), 0);
    return info;
}

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(in_dir(name), "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void authority_is_made_once_and_lasts_ten_years(void **state)
{
    UNUSED(state);
    struct error err;
    struct stat st;
    int64_t end = info_of("ca.pem").end_unix_s;
    assert_int_equal(pki_init(dir, &err), 0);
    assert_true(info_of("ca.pem").end_unix_s == end);
    assert_in_range((end - unix_ms() / 1000) / DAY_S, 3649, 3650);
    assert_int_equal(stat(in_dir("ca.key"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void authority_without_its_key_is_not_replaced(void **state)
{
    UNUSED(state);
    struct error err;
    struct pki *p;
    assert_int_equal(unlink(in_dir("ca.key")), 0);
    assert_int_equal(pki_init(dir, &err), ERR_INVALID);
    assert_int_equal(pki_open(dir, &p, &err), ERR_NOT_FOUND);
    write_file("ca.key", "not a key");
    assert_int_equal(pki_init(dir, &err), ERR_INVALID);
    assert_int_equal(pki_open(dir, &p, &err), ERR_INVALID);
}

static void role_certificate_names_the_role(void **state)
{
    UNUSED(state);
    static const char *const roles[] = {"harpoon", "scheduler", "eventrouter", "operator"};
    for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
        struct error err;
        struct rpc_peer peer;
        struct stat st;
        char name[64];
        assert_int_equal(pki_issue_role(authority, roles[i], NULL, 365, &err), 1);
        snprintf(name, sizeof(name), "%s.pem", roles[i]);
        struct pki_info info = info_of(name);
        assert_int_equal(rpc_peer_parse(info.uri, &peer, &err), 0);
        assert_int_equal(peer.role, 1 << i);
        assert_in_range((info.end_unix_s - unix_ms() / 1000) / DAY_S, 364, 365);
        snprintf(name, sizeof(name), "%s.key", roles[i]);
        assert_int_equal(stat(in_dir(name), &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
}

static void hypervisor_certificates_name_region_and_number(void **state)
{
    UNUSED(state);
    struct error err;
    struct rpc_peer peer;
    assert_int_equal(pki_issue_hypervisors(authority, "nyc3", 8, 12, 365, &err), 5);
    assert_int_equal(pki_issue_hypervisors(authority, "nyc3", 10, 14, 365, &err), 2);
    assert_int_equal(rpc_peer_parse(info_of("agents/nyc3/14.pem").uri, &peer, &err), 0);
    assert_int_equal(peer.role, RPC_ROLE_HYPERVISOR);
    assert_string_equal(peer.region, "nyc3");
    assert_int_equal(peer.hypervisor_id, 14);
}

static void valid_certificate_is_kept_and_one_that_ends_soon_renewed(void **state)
{
    UNUSED(state);
    struct error err;
    assert_int_equal(pki_issue_role(authority, "harpoon", NULL, 32, &err), 1);
    assert_int_equal(pki_issue_role(authority, "harpoon", NULL, 365, &err), 0);
    assert_int_equal(pki_issue_role(authority, "scheduler", NULL, 29, &err), 1);
    assert_int_equal(pki_issue_role(authority, "scheduler", NULL, 365, &err), 1);
    assert_int_equal(pki_issue_role(authority, "scheduler", NULL, 365, &err), 0);
}

static void certificate_for_other_names_is_issued_anew(void **state)
{
    UNUSED(state);
    struct error err;
    assert_int_equal(pki_issue_role(authority, "harpoon", NULL, 365, &err), 1);
    assert_int_equal(pki_issue_role(authority, "harpoon", "IP:10.0.0.1,DNS:a.b", 365, &err), 1);
    assert_int_equal(pki_issue_role(authority, "harpoon", "IP:10.0.0.1,DNS:a.b", 365, &err), 0);
    assert_int_equal(pki_issue_role(authority, "harpoon", "IP:10.0.0.2,DNS:a.b", 365, &err), 1);
}

static void damaged_files_are_issued_anew(void **state)
{
    UNUSED(state);
    struct error err;
    assert_int_equal(pki_issue_role(authority, "harpoon", NULL, 365, &err), 1);
    write_file("harpoon.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    assert_int_equal(pki_issue_role(authority, "harpoon", NULL, 365, &err), 1);
    assert_int_equal(unlink(in_dir("harpoon.key")), 0);
    assert_int_equal(pki_issue_role(authority, "harpoon", NULL, 365, &err), 1);
    assert_int_equal(pki_issue_role(authority, "scheduler", NULL, 365, &err), 1);
    char other[256];
    snprintf(other, sizeof(other), "%s", in_dir("scheduler.key"));
    assert_int_equal(rename(other, in_dir("harpoon.key")), 0); /* another certificate's key */
    assert_int_equal(pki_issue_role(authority, "harpoon", NULL, 365, &err), 1);
    assert_int_equal(pki_issue_role(authority, "harpoon", NULL, 365, &err), 0);
}

static void certificate_of_another_authority_is_issued_anew(void **state)
{
    UNUSED(state);
    struct error err;
    assert_int_equal(pki_issue_role(authority, "harpoon", NULL, 365, &err), 1);
    authority = pki_close(authority);
    assert_int_equal(unlink(in_dir("ca.key")), 0);
    assert_int_equal(unlink(in_dir("ca.pem")), 0);
    assert_int_equal(pki_init(dir, &err), 1);
    assert_int_equal(pki_open(dir, &authority, &err), 0);
    assert_int_equal(pki_issue_role(authority, "harpoon", NULL, 365, &err), 1);
}

static void what_is_no_name_is_refused(void **state)
{
    UNUSED(state);
    static const char *const sans[] = {"x", "DNS:", "IP:1.2.3", "IP:", "DNS:a,,DNS:b", "URI:x"};
    static const char *const regions[] = {"", "NYC3", "nyc/3", "../x", "a b"};
    struct error err;
    for (size_t i = 0; i < ARRAY_LEN(sans); i++)
        assert_int_equal(pki_issue_role(authority, "harpoon", sans[i], 365, &err), ERR_INVALID);
    for (size_t i = 0; i < ARRAY_LEN(regions); i++)
        assert_int_equal(pki_issue_hypervisors(authority, regions[i], 1, 1, 365, &err),
                         ERR_INVALID);
    assert_int_equal(pki_issue_role(authority, "root", NULL, 365, &err), ERR_INVALID);
    assert_int_equal(pki_issue_role(authority, "../harpoon", NULL, 365, &err), ERR_INVALID);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(authority_is_made_once_and_lasts_ten_years),
        TEST(authority_without_its_key_is_not_replaced),
        TEST(role_certificate_names_the_role),
        TEST(hypervisor_certificates_name_region_and_number),
        TEST(valid_certificate_is_kept_and_one_that_ends_soon_renewed),
        TEST(certificate_for_other_names_is_issued_anew),
        TEST(damaged_files_are_issued_anew),
        TEST(certificate_of_another_authority_is_issued_anew),
        TEST(what_is_no_name_is_refused),
    };
    return cmocka_run_group_tests_name("pki", tests, NULL, NULL);
}
