#!/usr/bin/env python3
"""Runs a test program beside a private server of its own, and does to the server what the test asks for.

    run.py test mariadb|rabbitmq PROGRAM [ARGUMENT…]   a server in a new folder, the program, the server's end
    run.py do VERB [ARGUMENT…]                         what the program calls, by way of $HARPOON_TEST_DO

Verbs: stop, start, kill (-9), freeze, thaw, wipe-data, sql STATEMENTS, api METHOD PATH [JSON], ctl WORD….
The program finds in its environment: HARPOON_TEST_SOCKET and HARPOON_TEST_PASSWORD (MariaDB: database `test`,
users `tester` and `operator`), HARPOON_TEST_PORT (RabbitMQ: users harpoon, worker and admin, password `secret`).
"""
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))
from servers import MariaDB, RabbitMQ  # noqa: E402

BROKER_PASSWORD = "secret"
QUORUM = {"x-queue-type": "quorum"}
EVENTS = {**QUORUM, "x-delivery-limit": 50, "x-max-length": 10000, "x-max-length-bytes": 10000000,
          "x-overflow": "reject-publish", "x-dead-letter-exchange": "events.dead",
          "x-dead-letter-strategy": "at-least-once", "x-dead-letter-routing-key": "events.dead"}


def definitions():
    """The users of a real installation, and a part of its topology as load_definitions makes it."""
    def user(name, tags=""):
        return {"name": name, "password": BROKER_PASSWORD, "tags": tags}

    def permission(name, configure, write, read):
        return {"user": name, "vhost": "/", "configure": configure, "write": write, "read": read}

    def queue(name, arguments):
        return {"name": name, "vhost": "/", "durable": True, "auto_delete": False, "arguments": arguments}

    return {
        "vhosts": [{"name": "/"}],
        "users": [user("harpoon"), user("worker"), user("admin", "administrator")],
        "permissions": [permission("harpoon", r"^events(\..*)?$", r"^events(\..*)?$", r"^events(\..*)?$"),
                        permission("worker", "^$", "^$", r"^events\..*$"),
                        permission("admin", ".*", ".*", ".*")],
        "exchanges": [{"name": "events", "vhost": "/", "type": "topic", "durable": True, "auto_delete": False,
                       "internal": False, "arguments": {}}],
        "queues": [queue("events.nyc3.create", EVENTS)],
        "bindings": [{"source": "events", "vhost": "/", "destination": "events.nyc3.create",
                      "destination_type": "queue", "routing_key": "events.nyc3.create", "arguments": {}}],
    }


def free_ports(count):
    """The first of `count` adjacent loopback ports that nobody listens on, below the ephemeral ones."""
    first = int(os.environ.get("HARPOON_TEST_PORT_BASE", 20000 + os.getpid() * 7 % 11000))
    for base in list(range(first, 32000, count)) + list(range(20000, first, count)):
        probes = []
        try:
            for port in range(base, base + count):
                probe = socket.socket()
                probes.append(probe)
                probe.bind(("127.0.0.1", port))
            return base
        except OSError:
            continue
        finally:
            for probe in probes:
                probe.close()
    raise RuntimeError("no free ports")


def make_server(kind, folder, port):
    if kind == "mariadb":
        return MariaDB(folder)
    return RabbitMQ(folder, port, definitions=definitions(), admin=("admin", BROKER_PASSWORD))


def prepare_mariadb(server, password):
    server.sql(f"""CREATE DATABASE test;
        CREATE USER tester@localhost IDENTIFIED BY '{password}';
        GRANT ALL ON test.* TO tester@localhost;
        CREATE USER operator@localhost IDENTIFIED BY '{password}';
        GRANT ALL ON *.* TO operator@localhost;""")


def run_test(kind, program):
    folder = Path(tempfile.mkdtemp(prefix=f"harpoon-{kind}-"))
    port = free_ports(5) if kind == "rabbitmq" else 0
    server = make_server(kind, folder / "state", port)
    env = dict(os.environ, HARPOON_TEST_DO=f"{sys.executable} {Path(__file__).resolve()} do",
               HARPOON_TEST_KIND=kind, HARPOON_TEST_FOLDER=str(server.folder), HARPOON_TEST_PORT=str(port))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    code = 1
    try:
        server.start(lambda text: print(text, flush=True))
        if kind == "mariadb":
            password = secrets.token_hex(8)
            prepare_mariadb(server, password)
            env.update(HARPOON_TEST_SOCKET=server.socket, HARPOON_TEST_PASSWORD=password)
        code = subprocess.run(program, env=env).returncode
    finally:
        server.stop()
        if code < 0:
            print(f"{program[0]} was ended by signal {-code}")
        if code == 0:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"the server's state is kept in {folder}")
    return code


def management_api(server, method, path, body=None):
    answer = server.api(path, method, json.loads(body) if body else None)
    if answer is not None:
        print(json.dumps(answer))


def do(verb, arguments):
    server = make_server(os.environ["HARPOON_TEST_KIND"], os.environ["HARPOON_TEST_FOLDER"],
                         int(os.environ["HARPOON_TEST_PORT"]))
    verbs = {
        "stop": server.stop,
        "start": server.start,
        "kill": server.kill,
        "freeze": lambda: server.kill(signal.SIGSTOP),
        "thaw": lambda: server.kill(signal.SIGCONT),
        "wipe-data": lambda: server.wipe_data(),
        "sql": lambda text: server.sql(text),
        "api": lambda method, path, body=None: management_api(server, method, path, body),
        "ctl": lambda *words: subprocess.run(["/usr/lib/rabbitmq/bin/rabbitmqctl", "-q", *words],
                                             env=server.environment(), check=True),
    }
    verbs[verb](*arguments)
    return 0


if __name__ == "__main__":
    if len(sys.argv) >= 4 and sys.argv[1] == "test":
        sys.exit(run_test(sys.argv[2], sys.argv[3:]))
    if len(sys.argv) >= 3 and sys.argv[1] == "do":
        sys.exit(do(sys.argv[2], sys.argv[3:]))
    sys.exit(__doc__)
