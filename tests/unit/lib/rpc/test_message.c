#include "lib/rpc/message.h"

#include "lib/macros.h"
#include "proto/router.pb-c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static grpc_byte_buffer *bytes_of(const void *data, size_t size)
{
    grpc_slice slice = grpc_slice_from_copied_buffer(data, size);
    grpc_byte_buffer *bytes = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return bytes;
}

static grpc_byte_buffer *encode_router(const char *name)
{
    Harpoon__Router__V1__SessionsReply m = HARPOON__ROUTER__V1__SESSIONS_REPLY__INIT;
    m.router = (char *)name;
    return rpc_message_encode(&m.base);
}

static void assert_router_is(grpc_byte_buffer *bytes, const char *name)
{
    ProtobufCMessage *m =
        rpc_message_decode(&harpoon__router__v1__sessions_reply__descriptor, bytes);
    assert_non_null(m);
    assert_string_equal(((Harpoon__Router__V1__SessionsReply *)m)->router, name);
    protobuf_c_message_free_unpacked(m, NULL);
}

static void message_survives_the_road(void **state)
{
    UNUSED(state);
    grpc_byte_buffer *bytes = encode_router("nyc3-1");
    assert_router_is(bytes, "nyc3-1");
    grpc_byte_buffer_destroy(bytes);
}

static void message_in_many_pieces_is_read_whole(void **state)
{
    UNUSED(state);
    static const char name[] = "a router with a rather long name, longer than what lies in a slice";
    grpc_slice slices[64];
    grpc_byte_buffer *whole = encode_router(name);
    grpc_slice *all = whole->data.raw.slice_buffer.slices;
    size_t size = GRPC_SLICE_LENGTH(all[0]);
    size_t count = 0;
    for (size_t at = 0; at < size; at += 5)
        slices[count++] =
            grpc_slice_from_copied_buffer((const char *)GRPC_SLICE_START_PTR(all[0]) + at,
                                          size - at < 5 ? size - at : 5);
    grpc_byte_buffer *bytes = grpc_raw_byte_buffer_create(slices, count);
    assert_router_is(bytes, name);
    for (size_t i = 0; i < count; i++)
        grpc_slice_unref(slices[i]);
    grpc_byte_buffer_destroy(bytes);
    grpc_byte_buffer_destroy(whole);
}

static void empty_bytes_are_the_empty_message(void **state)
{
    UNUSED(state);
    grpc_byte_buffer *bytes = bytes_of("", 0);
    assert_router_is(bytes, "");
    grpc_byte_buffer_destroy(bytes);
}

static void garbage_is_not_a_message(void **state)
{
    UNUSED(state);
    grpc_byte_buffer *bytes = bytes_of("\xff\xff\xff\xff\xff\xff", 6);
    assert_null(rpc_message_decode(&harpoon__router__v1__sessions_reply__descriptor, bytes));
    grpc_byte_buffer_destroy(bytes);
}

static void compressed_bytes_are_refused(void **state)
{
    UNUSED(state);
    grpc_slice slice = grpc_slice_from_static_string("");
    grpc_byte_buffer *bytes = grpc_raw_compressed_byte_buffer_create(&slice, 1, GRPC_COMPRESS_GZIP);
    assert_null(rpc_message_decode(&harpoon__router__v1__sessions_reply__descriptor, bytes));
    grpc_byte_buffer_destroy(bytes);
}

static void queue_keeps_order_and_its_count(void **state)
{
    UNUSED(state);
    struct rpc_queue q;
    rpc_queue_init(&q, 2, 1000);
    grpc_byte_buffer *a = bytes_of("a", 1);
    grpc_byte_buffer *b = bytes_of("b", 1);
    grpc_byte_buffer *c = bytes_of("c", 1);
    assert_true(rpc_queue_push(&q, a));
    assert_true(rpc_queue_push(&q, b));
    assert_false(rpc_queue_push(&q, c));
    assert_ptr_equal(rpc_queue_pop(&q), a);
    assert_true(rpc_queue_push(&q, c));
    assert_ptr_equal(rpc_queue_pop(&q), b);
    assert_ptr_equal(rpc_queue_pop(&q), c);
    assert_null(rpc_queue_pop(&q));
    assert_int_equal(q.bytes, 0);
    grpc_byte_buffer_destroy(a);
    grpc_byte_buffer_destroy(b);
    grpc_byte_buffer_destroy(c);
}

static void queue_is_bounded_in_bytes_but_takes_one_message_of_any_size(void **state)
{
    UNUSED(state);
    struct rpc_queue q;
    rpc_queue_init(&q, 100, 4);
    grpc_byte_buffer *large = bytes_of("123456789", 9);
    grpc_byte_buffer *small = bytes_of("1", 1);
    assert_true(rpc_queue_push(&q, large));
    assert_false(rpc_queue_push(&q, small));
    rpc_queue_clear(&q);
    assert_true(rpc_queue_push(&q, small));
    rpc_queue_clear(&q);
    assert_int_equal(q.count, 0);
}

static int setup(void **state)
{
    UNUSED(state);
    grpc_init();
    return 0;
}

static int teardown(void **state)
{
    UNUSED(state);
    grpc_shutdown_blocking();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(message_survives_the_road),
        cmocka_unit_test(message_in_many_pieces_is_read_whole),
        cmocka_unit_test(empty_bytes_are_the_empty_message),
        cmocka_unit_test(garbage_is_not_a_message),
        cmocka_unit_test(compressed_bytes_are_refused),
        cmocka_unit_test(queue_keeps_order_and_its_count),
        cmocka_unit_test(queue_is_bounded_in_bytes_but_takes_one_message_of_any_size),
    };
    return cmocka_run_group_tests_name("rpc_message", tests, setup, teardown);
}
