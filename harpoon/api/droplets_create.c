/* POST /v2/droplets: reads what is asked for, finds the keys, hands it to the flusher, answers. */
#include "harpoon/api/create.h"
#include "harpoon/api/internal.h"
#include "harpoon/api/json.h"
#include "lib/backoff.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS_BYTES_MAX (64u << 10) /* of one request's keys together */

struct creating {
    struct change change;
    struct create_order order;
    char *body;
    char trace_id[33];
    struct ssh_key keys[CREATE_KEYS_MAX];
    const char *key_texts[CREATE_KEYS_MAX];
    size_t key_count;
};

static void creating_free(void *state)
{
    struct creating *cr = state;

    for (size_t i = 0; i < cr->key_count; i++)
        ssh_key_clear(&cr->keys[i]);
    accept_request_clear(&cr->change.accept);
    free(cr->body);
    free(cr);
}

/* ---- the answer ---- */
static json_t *make_droplet(const struct creating *cr, size_t k)
{
    const struct accept_request *a = &cr->change.accept;
    struct droplet_record d = {
        .id = a->droplets[k].id,
        .image_id = a->image->id,
        .vcpus = a->size->vcpus,
        .memory_mib = a->size->memory_mib,
        .disk_gib = a->size->disk_gib,
        .status = DROPLET_NEW,
        .event = a->droplets[k].event,
        .created_ms = a->created_ms,
        .tags = (char **)(uintptr_t)a->tags, /* only read */
        .tag_count = a->tag_count,
    };

    (void)snprintf(d.name, sizeof d.name, "%s", a->droplets[k].name);
    (void)snprintf(d.region, sizeof d.region, "%s", a->region->slug);
    (void)snprintf(d.size, sizeof d.size, "%s", a->size->slug);
    (void)snprintf(d.body, sizeof d.body, "%s", a->body);
    return view_droplet(cr->change.call->view, &d);
}

static json_t *make_link(const struct creating *cr, size_t k)
{
    char path[64];
    uint64_t id = cr->change.accept.droplets[k].event.v;

    (void)snprintf(path, sizeof path, "/v2/actions/%" PRIu64, id);
    char *url = call_url(cr->change.call, path);
    json_t *link = json_pack("{s:I, s:s, s:s}", "id", (json_int_t)id, "rel", "create", "href",
                             url != NULL ? url : path);
    free(url);
    return link;
}

static char *make_answer(void *ctx)
{
    struct creating *cr = ctx;
    json_t *droplets = json_array(), *actions = json_array(), *shown;

    for (size_t k = 0; k < cr->change.accept.count; k++) {
        json_array_append_new(droplets, make_droplet(cr, k));
        json_array_append_new(actions, make_link(cr, k));
    }
    shown = cr->order.several ? json_incref(droplets) : json_incref(json_array_get(droplets, 0));
    json_decref(droplets);
    return call_format(json_pack("{s:o, s:{s:o}}", cr->order.several ? "droplets" : "droplet",
                                 shown, "links", "actions", actions));
}

static void on_created(struct change *change, int result, const struct error *err)
{
    char *answer = change->accept.answer;

    if (result < 0) {
        once_fail(change->call, err);
        return;
    }
    change->accept.answer = NULL; /* the call takes it */
    if (answer == NULL)
        answer = make_answer((struct creating *)change); /* its first member */
    call_reply_text(change->call, ACCEPT_STATUS, answer);
}

/* ---- to the flusher ---- */
static void make_trace_id(const struct call *c, char ret[33])
{
    size_t n = 0;

    for (const char *p = c->request_id; *p != 0 && n < 32; p++)
        if (*p != '-')
            ret[n++] = *p;
    ret[n] = 0;
}

static void submit(struct creating *cr)
{
    const struct create_order *o = &cr->order;
    struct call *c = cr->change.call;

    cr->change.accept = (struct accept_request){
        .account = call_account(c),
        .limited = c->token.account.droplet_limit != 0,
        .region = o->region,
        .size = o->size,
        .image = o->image,
        .tags = cr->order.tags,
        .tag_count = o->tag_count,
        .ssh_keys = cr->key_texts,
        .ssh_key_count = cr->key_count,
        .user_data = o->user_data,
        .user_data_size = o->user_data != NULL ? strlen(o->user_data) : 0,
        .body = cr->body,
        .trace_id = cr->trace_id,
        .count = o->name_count,
        .key = once_key(c),
        .make_answer = make_answer,
        .ctx = cr,
    };
    for (size_t k = 0; k < o->name_count; k++)
        cr->change.accept.droplets[k].name = o->names[k];
    changes_submit(c->api, &cr->change);
}

/* ---- its keys ---- */
static int add_key(struct call *c, struct creating *cr, const struct key_name *name, size_t *bytes,
                   struct error *err)
{
    struct ssh_key key;

    int r = keys_find(c->db, call_account(c), name, &key, err);
    if (r == ERR_NOT_FOUND && name->id != 0)
        return error_set(err, ERR_INVALID, "ssh_keys: there is no key %" PRIu64 ".", name->id);
    if (r == ERR_NOT_FOUND)
        return error_set(err, ERR_INVALID, "ssh_keys: there is no key %s.", name->fingerprint);
    if (r < 0)
        return r;
    for (size_t i = 0; i < cr->key_count; i++) {
        if (cr->keys[i].id != key.id)
            continue;
        ssh_key_clear(&key); /* named twice */
        return 0;
    }
    cr->keys[cr->key_count] = key;
    cr->key_texts[cr->key_count++] = key.public_key;
    *bytes += strlen(key.public_key);
    if (*bytes > KEYS_BYTES_MAX)
        return error_set(err, ERR_INVALID, "ssh_keys: together they have more than %u bytes.",
                         KEYS_BYTES_MAX);
    return 0;
}

/* On the reader's thread. */
static void find_keys(struct call *c)
{
    struct creating *cr = c->state;
    struct error err;
    size_t bytes = 0;
    int r = 0;

    for (size_t i = 0; i < cr->order.key_count && r >= 0; i++)
        r = add_key(c, cr, &cr->order.keys[i], &bytes, &err);
    reader_note(c->api, r, c->db);
    if (r < 0)
        call_fail(c, &err);
    else
        submit(cr);
}

static struct creating *begin(struct call *c, const struct create_order *order)
{
    struct creating *cr = calloc(1, sizeof *cr);
    const struct droplet_features features = {
        .backups = order->backups,
        .ipv6 = order->ipv6,
        .monitoring = order->monitoring,
        .agent = order->agent,
    };

    if (cr == NULL)
        return NULL;
    cr->order = *order;
    cr->body = view_format_body(&features);
    if (cr->body == NULL) {
        free(cr);
        return NULL;
    }
    cr->change = (struct change){.kind = CHANGE_CREATE, .call = c, .done = on_created};
    make_trace_id(c, cr->trace_id);
    c->state = cr;
    c->state_free = creating_free;
    return cr;
}

void droplets_create(struct call *c)
{
    struct create_order order;
    struct error err;

    if (!call_has_catalog(c))
        return;
    int r = create_parse(c->body, c->view->catalog, call_account(c), random_u64(), &order, &err);
    if (r < 0 && order.unknown && call_again(c, droplets_create))
        return;
    struct creating *cr = r >= 0 ? begin(c, &order) : NULL;
    if (r >= 0 && cr == NULL)
        r = error_set(&err, ERR_INTERNAL, "out of memory");
    if (r < 0)
        call_fail(c, &err);
    else if (order.key_count > 0)
        reader_run(c, find_keys);
    else
        submit(cr);
}
