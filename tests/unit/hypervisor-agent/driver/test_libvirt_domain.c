#include "hypervisor-agent/driver/libvirt_domain.h"

#include "tests/unit/hypervisor-agent/driver/support.h"

#include <libxml/parser.h>
#include <libxml/xpath.h>
#include <libxml/xpathInternals.h>
#include <stdlib.h>
#include <string.h>

struct fixture {
    struct test_job t;
    struct droplet droplet;
    struct droplet_files files;
    struct libvirt_plan plan;
};

static void setup(struct fixture *f)
{
    struct error err;

    memset(f, 0, sizeof(*f));
    test_job_init(&f->t, 17, 4, 2);
    assert_int_equal(droplet_from_job(&f->t.job, (hypervisor_id){7}, &f->droplet, &err), 0);
    assert_int_equal(droplet_files_at("/var/lib/d", f->droplet.uuid, &f->files, &err), 0);
    f->plan = (struct libvirt_plan){.type = "qemu",
                                    .droplet = &f->droplet,
                                    .spec = &f->t.spec,
                                    .files = &f->files};
}

static xmlDocPtr format(const struct fixture *f)
{
    struct error err;
    char *xml = NULL;

    assert_int_equal(libvirt_domain_format(&f->plan, &xml, &err), 0);
    xmlDocPtr doc = xmlReadMemory(xml, (int)strlen(xml), NULL, NULL, XML_PARSE_NONET);
    assert_non_null(doc);
    free(xml);
    return doc;
}

/* What an XPath expression gives, as text; the caller frees. */
static char *ask(xmlDocPtr doc, const char *expression)
{
    xmlXPathContextPtr context = xmlXPathNewContext(doc);

    xmlXPathRegisterNs(context, BAD_CAST "h", BAD_CAST LIBVIRT_DOMAIN_NAMESPACE);
    xmlXPathObjectPtr found = xmlXPathEvalExpression(BAD_CAST expression, context);
    assert_non_null(found);
    xmlChar *text = xmlXPathCastToString(found);
    char *ret = strdup((const char *)text);
    xmlFree(text);
    xmlXPathFreeObject(found);
    xmlXPathFreeContext(context);
    return ret;
}

static void assert_says(xmlDocPtr doc, const char *expression, const char *wanted)
{
    char *got = ask(doc, expression);

    if (strcmp(got, wanted) != 0)
        print_error("%s\n", expression);
    assert_string_equal(got, wanted);
    free(got);
}

static void a_domain_is_what_its_job_says(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f);
    xmlDocPtr doc = format(&f);
    assert_says(doc, "string(/domain/@type)", "qemu");
    assert_says(doc, "string(/domain/name)", "droplet-17");
    assert_says(doc, "string(/domain/uuid)", f.t.uuid);
    assert_says(doc, "concat(/domain/memory, /domain/memory/@unit, /domain/vcpu)", "96MiB1");
    assert_says(doc, "string(//disk[target/@dev='vda']/driver/@type)", "qcow2");
    assert_says(doc, "string(//disk[target/@dev='vda']/source/@file)", f.files.disk);
    assert_says(doc, "string(//disk[target/@dev='vdb']/driver/@type)", "raw");
    assert_says(doc, "count(//disk[target/@dev='vdb']/readonly)", "1");
    assert_says(doc, "count(//disk)", "2");
    assert_says(doc, "string(//serial/log/@file)", f.files.console);
    assert_says(doc, "string(//serial/log/@append)", "on");
    assert_says(doc, "string(//interface/@type)", "user");
    assert_says(doc, "string(//interface/mac/@address)", f.droplet.mac);
    assert_says(doc, "string(//channel/target/@name)", "org.qemu.guest_agent.0");
    assert_says(doc, "string(//sysinfo//entry[@name='serial'])", "17");
    assert_says(doc, "string(//tcg/tb-cache)", "32");
    xmlFreeDoc(doc);
}

static void hardware_virtualisation_has_no_emulator_settings(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f);
    f.plan.type = "kvm";
    f.plan.bridge = "br0";
    f.plan.agent_socket = "/s/17";
    xmlDocPtr doc = format(&f);
    assert_says(doc, "string(/domain/@type)", "kvm");
    assert_says(doc, "count(//tcg)", "0");
    assert_says(doc, "string(//cpu/@mode)", "host-model");
    assert_says(doc, "string(//interface[@type='bridge']/source/@bridge)", "br0");
    assert_says(doc, "string(//channel/source/@path)", "/s/17");
    xmlFreeDoc(doc);
}

static void hostile_names_stay_text(void **state)
{
    static char name[] = "</harpoon:name></harpoon:droplet></metadata><devices><disk type='file'>"
                         "<source file='/etc/shadow'/></disk></devices>\"'&amp;]]>\x01\xff";
    struct fixture f;
    struct error err;

    (void)state;
    setup(&f);
    f.t.spec.name = name;
    f.plan.bridge = "br0'/><hostdev/><x a='";
    assert_int_equal(droplet_files_at("/a'/><hostdev/>\"&", f.t.uuid, &f.files, &err), 0);
    xmlDocPtr doc = format(&f);
    assert_says(doc, "count(//disk)", "2");
    assert_says(doc, "count(//hostdev)", "0");
    assert_says(doc, "count(//metadata/*)", "1");
    assert_says(doc, "string(//interface/source/@bridge)", f.plan.bridge);
    assert_says(doc, "string(//disk[target/@dev='vda']/source/@file)", f.files.disk);
    char *said = ask(doc, "string(//h:name)");
    assert_memory_equal(said, name, strlen(name) - 2);
    assert_string_equal(said + strlen(name) - 2, "\xef\xbf\xbd\xef\xbf\xbd");
    free(said);
    xmlFreeDoc(doc);
}

static void a_value_too_long_is_refused_not_cut(void **state)
{
    struct fixture f;
    struct error err;
    char *xml = NULL, name[5000];

    (void)state;
    setup(&f);
    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = 0;
    f.t.spec.name = name;
    assert_true(libvirt_domain_format(&f.plan, &xml, &err) < 0);
    assert_null(xml);
}

static void metadata_tells_who_made_the_domain(void **state)
{
    struct origin origin;

    (void)state;
    assert_int_equal(
        libvirt_domain_parse_origin(
            "<droplet installation='inst-1' hypervisor='7' id='9007199254740991' event='4' "
            "attempt='4294967295'><name>x</name></droplet>",
            &origin),
        1);
    assert_string_equal(origin.installation, "inst-1");
    assert_int_equal(origin.hypervisor.v, 7);
    assert_int_equal(origin.droplet.v, 9007199254740991);
    assert_int_equal(origin.event.v, 4);
    assert_int_equal(origin.attempt, UINT32_MAX);
}

static void metadata_that_lacks_anything_is_not_ours(void **state)
{
    static const char *const strange[] = {
        "",
        "<droplet/>",
        "<other installation='i' hypervisor='7' id='1' event='4' attempt='1'/>",
        "<droplet installation='' hypervisor='7' id='1' event='4' attempt='1'/>",
        "<droplet installation='i' hypervisor='7' id='1' event='4'/>",
        "<droplet installation='i' hypervisor='7' id='-1' event='4' attempt='1'/>",
        "<droplet installation='i' hypervisor='7' id='1x' event='4' attempt='1'/>",
        "<droplet installation='i' hypervisor='7' id='1' event='4' attempt='4294967296'/>",
        "<droplet installation='i' hypervisor='7' id='99999999999999999999' event='4' "
        "attempt='1'/>",
        "<droplet installation='i' hypervisor='7' id='1' event='4' attempt='1'",
    };
    struct origin origin;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(strange); i++)
        assert_int_equal(libvirt_domain_parse_origin(strange[i], &origin), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_domain_is_what_its_job_says),
        cmocka_unit_test(hardware_virtualisation_has_no_emulator_settings),
        cmocka_unit_test(hostile_names_stay_text),
        cmocka_unit_test(a_value_too_long_is_refused_not_cut),
        cmocka_unit_test(metadata_tells_who_made_the_domain),
        cmocka_unit_test(metadata_that_lacks_anything_is_not_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
