"""Only Harpoon publishes, and no service sees another's schema: enforced by the servers, not by good manners."""
import unittest

import pika

from tests.support.system import SystemTest


class OnlyHarpoonPublishes(SystemTest):
    options = {"hypervisors": 2}

    def connect(self, user, password):
        parameters = pika.ConnectionParameters("127.0.0.1", self.system.layout.amqp_port, "/",
                                               pika.PlainCredentials(user, password), socket_timeout=10)
        connection = pika.BlockingConnection(parameters)
        self.addCleanup(lambda: connection.is_open and connection.close())
        return connection

    def as_worker(self):
        return self.connect("worker", self.system.layout.secret("amqp-worker").read_text().strip())

    def refused_publish(self, connection, exchange, key):
        """403 closes the channel; a confirm makes sure that we see it."""
        channel = connection.channel()
        channel.confirm_delivery()
        with self.assertRaises(pika.exceptions.ChannelClosedByBroker) as caught:
            channel.basic_publish(exchange, key, b"forged", mandatory=True)
        self.assertEqual(caught.exception.reply_code, 403)

    def test_the_worker_cannot_publish_anywhere(self):
        connection = self.as_worker()
        for exchange, key in (("events", "events.nyc3.create"), ("", "events.nyc3.create"), ("amq.topic", "x"),
                              ("events.dead", "events.dead")):
            with self.subTest(exchange=exchange):
                self.refused_publish(connection, exchange, key)

    def test_the_worker_cannot_declare_or_delete(self):
        connection = self.as_worker()
        attempts = {
            "declare": lambda c: c.queue_declare("events.nyc3.forged"),
            "declare exchange": lambda c: c.exchange_declare("forged"),
            "delete": lambda c: c.queue_delete("events.nyc3.create"),
            "bind": lambda c: c.queue_bind("events.nyc3.create", "events", "forged"),
            "purge the dead": lambda c: c.queue_purge("events.dead"),
        }
        for what, attempt in attempts.items():
            with self.subTest(what):
                with self.assertRaises(pika.exceptions.ChannelClosedByBroker) as caught:
                    attempt(connection.channel())
                self.assertEqual(caught.exception.reply_code, 403)

    def test_guest_and_nobody_are_not_let_in(self):
        for user, password in (("guest", "guest"), ("", ""), ("worker", "wrong"), ("harpoon", "")):
            with self.subTest(user=user):
                with self.assertRaises(pika.exceptions.AMQPConnectionError):
                    self.connect(user, password)

    def test_no_other_process_has_a_broker_account(self):
        users = {user["name"] for user in self.system.cluster.rabbitmq.api("users")}
        self.assertEqual(users, {"harpoon", "worker", "admin"})
        connected = {c["user"] for c in self.system.cluster.rabbitmq.api("connections")}
        self.assertLessEqual(connected, {"harpoon", "worker"})

    def test_each_database_user_sees_its_own_schema_only(self):
        for user, own, other in (("harpoon_api", "harpoon", "scheduler"), ("harpoon_worker", "harpoon", "scheduler"),
                                 ("scheduler", "scheduler", "harpoon")):
            password = self.system.layout.secret(f"mysql-{user}").read_text().strip()

            def run(statement, user=user, password=password):
                return self.system.cluster.mariadb.sql(statement, user=user, password=password)

            table = {"harpoon": "events", "scheduler": "claims"}
            run(f"SELECT COUNT(*) FROM {own}.{table[own]}")
            for statement in (f"SELECT COUNT(*) FROM {other}.{table[other]}", f"DELETE FROM {other}.{table[other]}",
                              "SELECT COUNT(*) FROM mysql.user", f"DROP TABLE {own}.{table[own]}",
                              f"CREATE TABLE {own}.forged (i INT)"):
                with self.subTest(user=user, statement=statement):
                    with self.assertRaisesRegex(RuntimeError, "denied"):
                        run(statement)


if __name__ == "__main__":
    unittest.main()
