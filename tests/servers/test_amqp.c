/* lib/amqp against a real RabbitMQ: run by run.py. */
#include "tests/servers/amqp_support.h"

int main(void)
{
    int failed = publisher_tests() + consumer_tests() + rights_tests() + trouble_tests();
    return failed ? 1 : 0;
}
