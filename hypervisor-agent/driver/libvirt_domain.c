#include "hypervisor-agent/driver/libvirt_domain.h"

#include "hypervisor-agent/driver/text.h"

#include <inttypes.h>
#include <libxml/parser.h>
#include <libxml/tree.h>
#include <libxml/xmlwriter.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TCG_CACHE_MIB = 32, VALUE_BYTES = 4200 };

/* libxml2's writer, which escapes; the first failure stays. */
struct writer {
    xmlTextWriterPtr xml;
    bool failed;
};

static void begin(struct writer *w, const char *name)
{
    w->failed = w->failed || xmlTextWriterStartElement(w->xml, BAD_CAST name) < 0;
}

static void end(struct writer *w)
{
    w->failed = w->failed || xmlTextWriterEndElement(w->xml) < 0;
}

static void attribute(struct writer *w, const char *name, const char *format, ...) PRINTF(3, 4);
static void text(struct writer *w, const char *format, ...) PRINTF(2, 3);

/* Formats a value that XML allows; a longer one is a failure, not another value. */
static const char *value(struct writer *w, char ret[VALUE_BYTES], const char *format, va_list args)
{
    char raw[VALUE_BYTES / 3]; /* a bad byte becomes three */
    int n = vsnprintf(raw, sizeof(raw), format, args);

    w->failed = w->failed || n < 0 || n >= (int)sizeof(raw);
    text_copy_for_xml(raw, ret, VALUE_BYTES);
    return ret;
}

static void attribute(struct writer *w, const char *name, const char *format, ...)
{
    char buffer[VALUE_BYTES];
    va_list args;

    va_start(args, format);
    const char *v = value(w, buffer, format, args);
    va_end(args);
    w->failed = w->failed || xmlTextWriterWriteAttribute(w->xml, BAD_CAST name, BAD_CAST v) < 0;
}

static void text(struct writer *w, const char *format, ...)
{
    char buffer[VALUE_BYTES];
    va_list args;

    va_start(args, format);
    const char *v = value(w, buffer, format, args);
    va_end(args);
    w->failed = w->failed || xmlTextWriterWriteString(w->xml, BAD_CAST v) < 0;
}

/* <name>value</name> */
#define LEAF(w, name, ...) (begin(w, name), text(w, __VA_ARGS__), end(w))

/* <name attribute="value"/> */
static void leaf_with(struct writer *w, const char *name, const char *key, const char *v)
{
    begin(w, name);
    attribute(w, key, "%s", v);
    end(w);
}

static void write_metadata(struct writer *w, const struct libvirt_plan *plan)
{
    const struct origin *o = &plan->droplet->origin;

    begin(w, "metadata");
    begin(w, "harpoon:droplet");
    attribute(w, "xmlns:harpoon", "%s", LIBVIRT_DOMAIN_NAMESPACE);
    attribute(w, "installation", "%s", o->installation);
    attribute(w, "hypervisor", "%" PRIu64, o->hypervisor.v);
    attribute(w, "id", "%" PRIu64, o->droplet.v);
    attribute(w, "event", "%" PRIu64, o->event.v);
    attribute(w, "attempt", "%" PRIu32, o->attempt);
    LEAF(w, "harpoon:name", "%s", plan->spec->name); /* for people */
    LEAF(w, "harpoon:image", "%s", plan->spec->image->sha256);
    end(w);
    end(w);
}

static void write_size(struct writer *w, const struct libvirt_plan *plan)
{
    begin(w, "memory");
    attribute(w, "unit", "MiB");
    text(w, "%" PRIu32, plan->spec->memory_mib);
    end(w);
    LEAF(w, "vcpu", "%" PRIu32, plan->spec->vcpus);
}

/* What the guest reads in its SMBIOS tables: libvirt adds the uuid. */
static void write_sysinfo(struct writer *w, const struct libvirt_plan *plan)
{
    const struct {
        const char *name, *value;
    } entries[] = {{"manufacturer", "Harpoon"},
                   {"product", "Droplet"},
                   {"serial", strchr(plan->droplet->name, '-') + 1}};

    begin(w, "sysinfo");
    attribute(w, "type", "smbios");
    begin(w, "system");
    for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
        begin(w, "entry");
        attribute(w, "name", "%s", entries[i].name);
        text(w, "%s", entries[i].value);
        end(w);
    }
    end(w);
    end(w);
}

static void write_machine(struct writer *w, const struct libvirt_plan *plan)
{
    bool emulated = strcmp(plan->type, "qemu") == 0;

    begin(w, "os");
    begin(w, "type");
    attribute(w, "arch", "x86_64");
    attribute(w, "machine", "q35");
    text(w, "hvm");
    end(w);
    leaf_with(w, "boot", "dev", "hd");
    leaf_with(w, "smbios", "mode", "sysinfo");
    end(w);
    write_sysinfo(w, plan);
    begin(w, "features");
    LEAF(w, "acpi", "%s", "");
    if (emulated) {
        begin(w, "tcg");
        begin(w, "tb-cache"); /* QEMU would take a gigabyte for each guest */
        attribute(w, "unit", "MiB");
        text(w, "%d", TCG_CACHE_MIB);
        end(w);
        end(w);
    }
    end(w);
    leaf_with(w, "cpu", "mode", emulated ? "maximum" : "host-model");
    LEAF(w, "on_poweroff", "destroy");
    LEAF(w, "on_reboot", "restart");
    LEAF(w, "on_crash", "destroy");
}

static void write_disk(struct writer *w, const char *format, const char *path, const char *target)
{
    bool seed = strcmp(format, "raw") == 0;

    begin(w, "disk");
    attribute(w, "type", "file");
    attribute(w, "device", "disk");
    begin(w, "driver");
    attribute(w, "name", "qemu");
    attribute(w, "type", "%s", format); /* never probed */
    if (!seed)
        attribute(w, "discard", "unmap");
    end(w);
    leaf_with(w, "source", "file", path);
    begin(w, "target");
    attribute(w, "dev", "%s", target);
    attribute(w, "bus", "virtio"); /* a seed, too: cloud kernels know no SATA */
    end(w);
    if (seed)
        LEAF(w, "readonly", "%s", "");
    end(w);
}

static void write_console(struct writer *w, const char *path)
{
    begin(w, "serial");
    attribute(w, "type", "pty");
    begin(w, "log");
    attribute(w, "file", "%s", path);
    attribute(w, "append", "on"); /* so that it can be shortened under QEMU's hands */
    end(w);
    leaf_with(w, "target", "port", "0");
    end(w);
}

static void write_guest_agent(struct writer *w, const char *socket)
{
    begin(w, "channel");
    attribute(w, "type", "unix");
    if (socket != NULL) {
        begin(w, "source");
        attribute(w, "mode", "bind");
        attribute(w, "path", "%s", socket);
        end(w);
    }
    begin(w, "target");
    attribute(w, "type", "virtio");
    attribute(w, "name", "org.qemu.guest_agent.0");
    end(w);
    end(w);
}

static void write_network(struct writer *w, const struct libvirt_plan *plan)
{
    begin(w, "interface");
    attribute(w, "type", "%s", plan->bridge != NULL ? "bridge" : "user");
    if (plan->bridge != NULL)
        leaf_with(w, "source", "bridge", plan->bridge);
    leaf_with(w, "mac", "address", plan->droplet->mac);
    leaf_with(w, "model", "type", "virtio");
    end(w);
}

static void write_devices(struct writer *w, const struct libvirt_plan *plan)
{
    begin(w, "devices");
    write_disk(w, "qcow2", plan->files->disk, "vda");
    write_disk(w, "raw", plan->files->seed, "vdb");
    write_console(w, plan->files->console);
    write_guest_agent(w, plan->agent_socket);
    write_network(w, plan);
    leaf_with(w, "memballoon", "model", "none");
    begin(w, "controller"); /* none of what libvirt adds by itself */
    attribute(w, "type", "usb");
    attribute(w, "model", "none");
    end(w);
    begin(w, "rng"); /* a guest that waits for randomness boots late */
    attribute(w, "model", "virtio");
    begin(w, "backend");
    attribute(w, "model", "random");
    text(w, "/dev/urandom");
    end(w);
    end(w);
    end(w);
}

static void write_domain(struct writer *w, const struct libvirt_plan *plan)
{
    begin(w, "domain");
    attribute(w, "type", "%s", plan->type);
    LEAF(w, "name", "%s", plan->droplet->name);
    LEAF(w, "uuid", "%s", plan->droplet->uuid);
    write_metadata(w, plan);
    write_size(w, plan);
    if (plan->files != NULL) {
        write_machine(w, plan);
        write_devices(w, plan);
    } else {
        begin(w, "os");
        LEAF(w, "type", "hvm");
        end(w);
    }
    end(w);
}

int libvirt_domain_format(const struct libvirt_plan *plan, char **ret, struct error *err)
{
    xmlBufferPtr buffer = xmlBufferCreate();
    struct writer w = {.xml = buffer != NULL ? xmlNewTextWriterMemory(buffer, 0) : NULL};

    w.failed = w.xml == NULL;
    if (!w.failed)
        write_domain(&w, plan);
    if (w.xml != NULL) {
        w.failed = w.failed || xmlTextWriterEndDocument(w.xml) < 0;
        xmlFreeTextWriter(w.xml);
    }
    char *xml = w.failed ? NULL : strdup((const char *)xmlBufferContent(buffer));
    xmlBufferFree(buffer);
    if (xml == NULL)
        return error_set(err, ERR_UNAVAILABLE, "the domain's XML cannot be written");
    *ret = xml;
    return 0;
}

static bool read_number(xmlNodePtr node, const char *name, uint64_t max, uint64_t *ret)
{
    xmlChar *s = xmlGetNoNsProp(node, BAD_CAST name);
    size_t digits = s != NULL ? strspn((const char *)s, "0123456789") : 0;
    bool ok = digits > 0 && digits < 20 && s[digits] == 0;

    if (ok) {
        *ret = strtoull((const char *)s, NULL, 10);
        ok = *ret <= max;
    }
    xmlFree(s);
    return ok;
}

static bool read_origin(xmlNodePtr node, struct origin *ret)
{
    uint64_t attempt = 0;
    xmlChar *installation = xmlGetNoNsProp(node, BAD_CAST "installation");
    size_t len = installation != NULL ? strlen((const char *)installation) : 0;
    bool ok = len > 0 && len < ORIGIN_INSTALLATION;

    if (ok)
        memcpy(ret->installation, installation, len + 1);
    xmlFree(installation);
    ok = ok && read_number(node, "hypervisor", UINT64_MAX, &ret->hypervisor.v) &&
         read_number(node, "id", UINT64_MAX, &ret->droplet.v) &&
         read_number(node, "event", UINT64_MAX, &ret->event.v) &&
         read_number(node, "attempt", UINT32_MAX, &attempt);
    ret->attempt = (uint32_t)attempt;
    return ok;
}

int libvirt_domain_parse_origin(const char *xml, struct origin *ret)
{
    struct origin o = {0};
    xmlDocPtr doc = xmlReadMemory(xml, (int)strlen(xml), NULL, NULL,
                                  XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
    xmlNodePtr node = doc != NULL ? xmlDocGetRootElement(doc) : NULL;
    bool ours =
        node != NULL && xmlStrEqual(node->name, BAD_CAST "droplet") && read_origin(node, &o);

    xmlFreeDoc(doc);
    if (ours)
        *ret = o;
    return ours ? 1 : 0;
}
