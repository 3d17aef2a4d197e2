#!/usr/bin/env python3
"""Stories of the scheduler: real replicas, a real database, real deaths.

    run.py test mariadb /usr/bin/python3 test_scheduler.py SCHEDULER [unittest arguments]
"""
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import unittest
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import grpc

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.support.rpc import Answering, Certificates, Rpc, load_protos  # noqa: E402
from tests.support.servers import wait_until  # noqa: E402

SCHEMA = Path(__file__).resolve().parents[2] / "scheduler/schema"
SERVICE = "harpoon.scheduler.v1.Scheduler/"
REGION = "nyc3"
BINARY = None
FOLDER = None


def free_port():
    """Nobody's now; below the ephemeral ones, so that no client of this test is given it."""
    free_port.last = getattr(free_port, "last", int(os.environ.get("HARPOON_TEST_PORT_BASE", 21300)) - 1)
    while True:
        free_port.last += 1
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", free_port.last))
                return free_port.last
            except OSError:
                continue


def server_do(*words):
    subprocess.run([*shlex.split(os.environ["HARPOON_TEST_DO"]), *words], check=True)


def sql(statements, user="operator"):
    """Rows as lists of text."""
    ran = subprocess.run(["mariadb", "--no-defaults", "--socket=" + os.environ["HARPOON_TEST_SOCKET"], f"--user={user}",
                          "--password=" + os.environ["HARPOON_TEST_PASSWORD"], "--batch", "--skip-column-names", "--raw",
                          "test"], input=statements, capture_output=True, text=True)
    if ran.returncode:
        raise RuntimeError(ran.stderr.strip())
    return [line.split("\t") for line in ran.stdout.splitlines()]


def blocked_insert():
    """The connection whose claims wait for somebody's lock, or None. (innodb_trx would show a copy, renewed only when
    nobody has looked for a while.)"""
    status = subprocess.run(["mariadb", "--no-defaults", "--socket=" + os.environ["HARPOON_TEST_SOCKET"], "--user=operator",
                             "--password=" + os.environ["HARPOON_TEST_PASSWORD"], "-e", "SHOW ENGINE INNODB STATUS\\G"],
                            capture_output=True, text=True, check=True).stdout
    for transaction in status.split("---TRANSACTION")[1:]:
        if "LOCK WAIT" in transaction and "INSERT INTO claims" in transaction:
            return re.search(r"thread id (\d+)", transaction).group(1)
    return None


class OpenTransaction:
    """Statements in a transaction of the operator's that stays open until the end of the block."""

    def __init__(self, statements):
        self.statements = statements

    def __enter__(self):
        self.client = subprocess.Popen(
            ["mariadb", "--no-defaults", "--socket=" + os.environ["HARPOON_TEST_SOCKET"], "--user=operator",
             "--password=" + os.environ["HARPOON_TEST_PASSWORD"], "--batch", "--skip-column-names", "--unbuffered", "test"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.say(f"BEGIN; {self.statements}; SELECT 'open';")
        assert self.client.stdout.readline().strip() == "open"
        return self

    def say(self, text):
        self.client.stdin.write(text + "\n")
        self.client.stdin.flush()

    def commit(self):
        self.say("COMMIT; SELECT 'done';")
        assert self.client.stdout.readline().strip() == "done"

    def __exit__(self, *error):
        self.client.stdin.close()
        self.client.wait()
        self.client.stdout.close()


class Replica:
    def __init__(self, number, certificates, options=()):
        self.address, self.admin = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        self.log = FOLDER / f"scheduler-{number}-{free_port.last}.log"
        self.command = [BINARY, "serve", "--listen", self.address, "--admin-listen", self.admin, "--regions", f"{REGION},ams3",
                        "--mysql-socket", os.environ["HARPOON_TEST_SOCKET"], "--mysql-user", "tester",
                        "--mysql-database", "test", "--mysql-password-file", str(FOLDER / "password"),
                        "--log-level", "debug", *certificates.options("scheduler"), *options]
        self.process = None

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self

    def kill(self, sig=signal.SIGKILL):
        self.process.send_signal(sig)
        if sig in (signal.SIGKILL, signal.SIGTERM):
            self.process.wait(20)
        if sig == signal.SIGSTOP:  # it runs on until one of its threads has seen the signal
            stat = Path(f"/proc/{self.process.pid}/stat")
            wait_until(lambda: stat.read_text().rsplit(")", 1)[1].split()[0] == "T", 10, "stopped")

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.kill(signal.SIGTERM)
        return self.process.returncode if self.process else None

    def listens(self):
        try:
            socket.create_connection(self.address.rsplit(":", 1), timeout=5).close()
            return True
        except OSError:
            return False

    def get(self, path):
        try:
            with urllib.request.urlopen(f"http://{self.admin}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode()
        except OSError:
            return 0, ""


class Router(threading.Thread):
    """Says once a second, to every replica, that all hypervisors are there."""

    def __init__(self, story, hypervisors, capacity):
        super().__init__(daemon=True)
        self.story, self.done, self.session = story, threading.Event(), 1
        self.seen = {h: {"hypervisor_id": h, "session": 1, "attached": True, "journal_id": str(uuid.uuid4()), "compared": True,
                         "average": {"capacity": capacity, "cpu_permille": 100}, "samples": 1} for h in hypervisors}

    def say(self):
        request = {"router": "test", "region": REGION, "hypervisors": list(self.seen.values())}
        calls = [self.story.rpc.start(r.address, SERVICE + "Observe", request, role="eventrouter", timeout_s=2)
                 for r in self.story.replicas]
        for call in calls:
            try:
                call.result()
            except grpc.RpcError:
                pass  # that replica is dead or stopped: a part of the story

    def run(self):
        while not self.done.wait(1):
            self.say()

    def stop(self):
        self.done.set()
        self.join()


def item(event, attempt=1, size=(1, 1024, 10), **more):
    return {"event_id": event, "attempt": attempt, "droplet_id": event + 5000000,
            "size": dict(zip(("vcpus", "memory_mib", "disk_gib"), size)), **more}


class Story(unittest.TestCase):
    """Two replicas, ten hypervisors, everything approved; a fresh schema for each story."""
    hypervisors = range(1, 11)
    capacity = {"vcpus": 64, "memory_mib": 262144, "disk_gib": 4000}
    options = ("--max-creates-in-flight", "0")
    with_router = True

    certificates = None  # one authority for all stories

    def setUp(self):
        tables = [row[0] for row in sql("SHOW TABLES")]
        sql("".join(f"DROP TABLE {table};" for table in tables))
        self.migrate()
        self.rpc = Rpc(self.certificates)
        self.replicas = [Replica(i, self.certificates, self.options).start() for i in (1, 2)]
        self.router = None
        self.addCleanup(self.end)
        for replica in self.replicas:
            wait_until(replica.listens, 30, f"replica {replica.address} listens")
        self.leader()
        if self.with_router:
            self.router = Router(self, self.hypervisors, self.capacity)
            self.router.say()
            wait_until(lambda: len(self.listed()) == len(self.hypervisors), 10, "hypervisors appear")
            self.call("SetStatus", {"region": REGION, "all_new": True, "status": "HYPERVISOR_STATUS_UP"})
            self.router.start()

    def end(self):
        if self.router and self.router.is_alive():
            self.router.stop()
        self.rpc.close()
        codes = [replica.stop() for replica in self.replicas]
        for replica, code in zip(self.replicas, codes):
            self.assertIn(code, (0, -signal.SIGKILL), replica.log)  # the sanitizers' word, too

    def migrate(self):
        subprocess.run([BINARY, "migrate", "--schema", str(SCHEMA), "--mysql-socket", os.environ["HARPOON_TEST_SOCKET"],
                        "--mysql-user", "tester", "--mysql-database", "test", "--mysql-password-file",
                        str(FOLDER / "password")], check=True, capture_output=True)

    # ---- who leads ----
    def leader(self, timeout_s=15, but=()):
        """The replica that leads the region."""
        def find():
            for replica in self.replicas:
                if replica in but or replica.process.poll() is not None:
                    continue
                try:
                    status = self.rpc.call(replica.address, SERVICE + "Status", {}, role="operator", timeout_s=1)
                except grpc.RpcError:
                    continue
                if any(r["region"] == REGION and r["leading"] for r in status["regions"]):
                    return replica
            return None
        return wait_until(find, timeout_s, "a leader")

    def regions_of(self, replica):
        return self.rpc.call(replica.address, SERVICE + "Status", {}, role="operator")["regions"]

    def follower(self):
        leader = self.leader()
        return next(r for r in self.replicas if r is not leader)

    def call(self, method, request, timeout_s=5):
        """To whoever leads; asked again while nobody does."""
        def ask():
            for replica in self.replicas:
                try:
                    answer = self.rpc.call(replica.address, SERVICE + method, request, timeout_s=timeout_s)
                except grpc.RpcError as e:
                    if e.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                        raise
                    continue
                if not answer.get("leader", {}).get("elsewhere"):
                    return [answer]  # an answer may be empty
            return None
        return wait_until(ask, 15, f"{method} answered")[0]

    def place(self, *items):
        return self.call("Place", {"region": REGION, "items": list(items)})["placements"]

    def listed(self):
        return self.call("ListHypervisors", {"region": REGION})["hypervisors"]

    def stored(self):
        """{(event, attempt): hypervisor} in the database."""
        return {(int(e), int(a)): int(h) for e, a, h in
                sql(f"SELECT event_id, attempt, hypervisor_id FROM claims WHERE region = '{REGION}'")}

    def assert_memory_is_database(self):
        rows = sql("SELECT hypervisor_id, COUNT(*), SUM(vcpus), SUM(memory_mib), SUM(disk_gib) FROM claims "
                   f"WHERE region = '{REGION}' GROUP BY hypervisor_id")
        stored = {int(h): tuple(int(v) for v in rest) for h, *rest in rows}
        memory = {h["id"]: (h["claims"], h["claimed"]["vcpus"], h["claimed"]["memory_mib"], h["claimed"]["disk_gib"])
                  for h in self.listed() if h["claims"] or h["claimed"]["vcpus"]}
        self.assertEqual(memory, stored)
        for h in self.listed():
            for what, amount in h["claimed"].items():
                self.assertLessEqual(amount, h["capacity"][what])


class TestPlacing(Story):
    def test_claims_are_stored_before_they_are_answered(self):
        placed = self.place(*[item(e) for e in range(1, 101)])
        self.assertEqual({p["outcome"] for p in placed}, {"OUTCOME_PLACED"})
        self.assertEqual(self.stored(), {(e + 1, 1): p["hypervisor_id"] for e, p in enumerate(placed)})
        self.assert_memory_is_database()
        self.assertEqual(self.place(*[item(e) for e in range(1, 101)]), placed)
        self.assertEqual(len(self.stored()), 100)

    def test_next_attempt_takes_the_place_of_the_last(self):
        first = self.place(item(1))[0]["hypervisor_id"]
        second = self.place(item(1, attempt=2, excluded_hypervisor_ids=[first]))[0]["hypervisor_id"]
        self.assertNotEqual(first, second)
        self.assertEqual(self.stored(), {(1, 2): second})
        self.assertEqual(self.place(item(1))[0]["outcome"], "OUTCOME_STALE")
        together = self.place(item(7), item(7, attempt=2))
        self.assertEqual([p["outcome"] for p in together], ["OUTCOME_STALE", "OUTCOME_PLACED"])
        self.assert_memory_is_database()

    def test_no_room_says_why(self):
        answer = self.place(item(1, size=(65, 1024, 10)))[0]
        self.assertEqual(answer["outcome"], "OUTCOME_NO_ROOM")
        self.assertEqual(answer["reason"], "none of 10 hypervisors has room: vcpus 10")
        self.assertEqual(self.stored(), {})

    def test_release_is_idempotent_and_of_a_droplet_complete(self):
        self.place(item(1), item(2), {**item(3), "droplet_id": item(2)["droplet_id"]})
        for _ in range(2):
            self.call("Release", {"region": REGION, "items": [{"event_id": 1, "attempt": 1}, {"event_id": 99, "attempt": 1}]})
        self.assertEqual(set(self.stored()), {(2, 1), (3, 1)})
        self.call("Release", {"region": REGION, "items": [{"droplet_id": item(2)["droplet_id"]}]})
        self.assertEqual(self.stored(), {})
        self.assert_memory_is_database()

    def test_concurrent_callers_never_claim_more_than_there_is(self):
        """640 vCPUs, 1,280 asked one at a time by many: exactly 640 are placed."""
        leader = self.leader()
        calls = [self.rpc.start(leader.address, SERVICE + "Place", {"region": REGION, "items": [item(e)]}, timeout_s=30)
                 for e in range(1, 1281)]
        outcomes = [p.outcome for call in calls for p in call.result().placements]
        self.assertEqual(outcomes.count(1), 640)
        self.assertEqual(outcomes.count(2), 640)
        self.assertEqual(len(self.stored()), 640)
        self.assert_memory_is_database()

    def test_bad_requests_are_refused_by_name_and_claim_nothing(self):
        good = item(1)
        table = [
            ([good] * 2, "items[1].event_id"),
            ([item(1), item(2, size=(0, 1, 1))], "items[1].size.vcpus"),
            ([item(1), item(2, size=(1, 0, 1))], "items[1].size.memory_mib"),
            ([item(1), item(2, size=(1, 1, 2 ** 31))], "items[1].size.disk_gib"),
            ([item(1), item(0)], "items[1].event_id"),
            ([item(1), item(2 ** 53)], "items[1].event_id"),
            ([item(1), item(2, attempt=0)], "items[1].attempt"),
            ([item(1), {"event_id": 2, "attempt": 1, "droplet_id": 3}], "items[1].size"),
            ([item(e) for e in range(1, 1002)], "items"),
        ]
        for items, field in table:
            with self.subTest(field=field), self.assertRaises(grpc.RpcError) as refused:
                self.rpc.call(self.leader().address, SERVICE + "Place", {"region": REGION, "items": items})
            self.assertEqual(refused.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
            self.assertIn(field, refused.exception.details())
        with self.assertRaises(grpc.RpcError) as refused:
            self.rpc.call(self.leader().address, SERVICE + "Place", {"region": "sfo9", "items": [good]})
        self.assertEqual(refused.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
        self.assertIn("region", refused.exception.details())
        self.assertEqual(self.stored(), {})
        self.assert_memory_is_database()

    def test_callers_may_only_do_what_is_theirs(self):
        address = self.leader().address
        allowed = {"Place": {"harpoon"}, "Release": {"harpoon"}, "SetStatus": {"harpoon"}, "ListHypervisors": {"harpoon"},
                   "Observe": {"eventrouter"}, "Status": {"harpoon", "operator"}}
        for method, roles in allowed.items():
            for role in {"harpoon", "eventrouter", "operator", "scheduler"} - roles:
                with self.subTest(method=method, role=role), self.assertRaises(grpc.RpcError) as refused:
                    self.rpc.call(address, SERVICE + method, {}, role=role)
                self.assertEqual(refused.exception.code(), grpc.StatusCode.PERMISSION_DENIED)


class TestHypervisors(Story):
    def test_a_hypervisor_is_new_until_it_is_approved(self):
        self.router.seen[42] = {**self.router.seen[1], "hypervisor_id": 42, "journal_id": str(uuid.uuid4())}
        new = wait_until(lambda: [h for h in self.listed() if h["id"] == 42], 10, "42 appears")[0]
        self.assertEqual(new["status"], "HYPERVISOR_STATUS_NEW")
        self.assertEqual(new["not_placeable_because"], "not approved yet")
        self.assertEqual(new["capacity"], self.capacity)
        self.assertEqual(self.place(item(1, pinned_hypervisor_id=42))[0]["outcome"], "OUTCOME_NO_ROOM")
        answer = self.call("SetStatus", {"region": REGION, "hypervisor_ids": [42, 43], "status": "HYPERVISOR_STATUS_UP"})
        self.assertEqual((answer["changed_ids"], answer["unknown_ids"]), ([42], [43]))
        self.assertEqual(self.place(item(1, pinned_hypervisor_id=42))[0]["outcome"], "OUTCOME_PLACED")
        self.assertEqual(sql("SELECT status, vcpus FROM hypervisors WHERE id = 42"), [["2", "64"]])

    def test_drained_and_fenced_hypervisors_get_nothing_and_keep_what_they_have(self):
        self.place(item(1, pinned_hypervisor_id=1), item(2, pinned_hypervisor_id=2))
        for h, status in ((1, "DRAINED"), (2, "FENCED")):
            self.call("SetStatus", {"region": REGION, "hypervisor_ids": [h], "status": f"HYPERVISOR_STATUS_{status}"})
            self.assertEqual(self.place(item(10 + h, pinned_hypervisor_id=h))[0]["outcome"], "OUTCOME_NO_ROOM")
        self.assertEqual(self.stored(), {(1, 1): 1, (2, 1): 2})

    def test_a_new_journal_waits_for_its_comparison(self):
        journal = str(uuid.uuid4())
        self.router.seen[1].update(session=2, journal_id=journal, compared=False)
        self.router.say()
        answer = self.place(item(1, pinned_hypervisor_id=1))[0]
        self.assertEqual(answer["reason"], "none of 1 hypervisors has room: journal not compared 1")
        self.router.seen[1]["compared"] = True
        self.router.say()
        self.assertEqual(self.place(item(1, pinned_hypervisor_id=1))[0]["outcome"], "OUTCOME_PLACED")
        rows = sql("SELECT LOWER(HEX(journal_id)) FROM hypervisors WHERE id = 1")
        self.assertEqual(rows, [[journal.replace("-", "")]])

    def test_the_dark_part_of_a_region_is_told(self):
        self.router.stop()
        for h in (1, 2, 3):
            self.router.seen[h]["attached"] = False
        self.router.say()
        answer = self.call("Place", {"region": REGION, "items": [item(1, pinned_hypervisor_id=1)]})
        self.assertEqual(answer["region_dark_permille"], 300)
        self.assertEqual(answer["placements"][0]["reason"], "none of 1 hypervisors has room: not connected 1")

    def test_changed_capacity_is_stored_and_honoured(self):
        for seen in self.router.seen.values():
            seen["average"] = {"capacity": {**self.capacity, "vcpus": 2}}
        self.router.say()
        self.assertEqual(self.place(item(1, size=(3, 1024, 10)))[0]["outcome"], "OUTCOME_NO_ROOM")
        wait_until(lambda: sql("SELECT DISTINCT vcpus FROM hypervisors") == [["2"]], 5, "capacity stored")

    def test_a_hypervisor_of_another_region_is_left_alone(self):
        stranger = {**self.router.seen[1]}
        request = {"router": "test", "region": "ams3", "hypervisors": [stranger]}
        for _ in range(3):
            for replica in self.replicas:
                self.rpc.call(replica.address, SERVICE + "Observe", request, role="eventrouter")
        self.assertEqual(self.place(item(1))[0]["outcome"], "OUTCOME_PLACED")
        self.assertEqual(sql("SELECT id FROM hypervisors WHERE region = 'ams3'"), [])
        self.assertEqual(self.call("ListHypervisors", {"region": "ams3"})["hypervisors"], [])

    def test_pages_follow_the_id(self):
        first = self.call("ListHypervisors", {"region": REGION, "limit": 4})["hypervisors"]
        rest = self.call("ListHypervisors", {"region": REGION, "after_id": first[-1]["id"]})["hypervisors"]
        self.assertEqual([h["id"] for h in first + rest], list(self.hypervisors))


class TestCreatesInFlight(Story):
    options = ("--max-creates-in-flight", "2")

    def test_creates_in_flight_are_limited(self):
        self.router.stop()
        placed = self.place(*[item(e, pinned_hypervisor_id=1) for e in range(1, 4)])
        self.assertEqual([p["outcome"] for p in placed], ["OUTCOME_PLACED", "OUTCOME_PLACED", "OUTCOME_NO_ROOM"])
        self.assertIn("too many creates in flight 1", placed[2]["reason"])

        def has_room():
            self.router.say()  # a sample without creates: they are done, but for those just placed
            return self.place(item(3, pinned_hypervisor_id=1))[0]["outcome"] == "OUTCOME_PLACED"

        wait_until(has_room, 10, "creates that are done make room")


class TestLeading(Story):
    def test_a_follower_says_who_leads(self):
        leader, follower = self.leader(), self.follower()

        def ask():
            answer = self.rpc.call(follower.address, SERVICE + "Place", {"region": REGION, "items": [item(1)]})
            self.assertTrue(answer["leader"]["elsewhere"])
            self.assertEqual(answer["placements"], [])
            return answer["leader"]["address"]

        wait_until(lambda: ask() == leader.address, 5, "the follower looks at the leases")
        for method, request in (("Release", {}), ("ListHypervisors", {}),
                                ("SetStatus", {"all_new": True, "status": "HYPERVISOR_STATUS_UP"})):
            answer = self.rpc.call(follower.address, SERVICE + method, {"region": REGION, **request})
            self.assertEqual(answer["leader"]["address"], leader.address)

    def test_both_are_ready_and_count(self):
        for replica in self.replicas:
            wait_until(lambda r=replica: r.get("/readyz")[0] == 200, 10, "ready")
        self.place(item(1))
        text = self.leader().get("/metrics")[1]
        self.assertIn(f'scheduler_decisions_total{{region="{REGION}",outcome="placed"}} 1', text)
        self.assertIn(f'scheduler_leading{{region="{REGION}"}} 1', text)
        self.assertIn(f'scheduler_claims{{region="{REGION}"}} 1', text)

    def test_killed_leader_is_followed_with_the_same_claims(self):
        placed = self.place(*[item(e) for e in range(1, 301)])
        dead = self.leader()
        dead.kill()
        heir = self.leader(but=[dead])
        self.assertEqual(self.place(*[item(e) for e in range(1, 301)]), placed)
        self.assertEqual(self.place(item(1000))[0]["outcome"], "OUTCOME_PLACED")
        self.assert_memory_is_database()
        dead.start()
        wait_until(lambda: dead.get("/readyz")[0] == 200, 10, "the dead one follows")
        self.assertIs(self.leader(), heir)

    def test_claims_survive_a_leader_killed_in_the_middle_of_a_load(self):
        answered, done = {}, threading.Event()

        def ask(first):
            event = first
            while not done.is_set():
                answer = self.place(item(event))[0]
                if answer["outcome"] == "OUTCOME_PLACED":
                    answered[event] = answer["hypervisor_id"]
                event += 8

        askers = [threading.Thread(target=ask, args=(n,)) for n in range(1, 9)]
        for asker in askers:
            asker.start()
        wait_until(lambda: len(answered) >= 50, 20, "a load")
        dead = self.leader()
        dead.kill()
        before = len(answered)
        self.leader(but=[dead])
        wait_until(lambda: len(answered) >= before + 50, 20, "a load on the heir")
        done.set()
        for asker in askers:
            asker.join()
        stored = self.stored()
        for event, hypervisor in answered.items():
            self.assertEqual(stored.get((event, 1)), hypervisor)
        self.assert_memory_is_database()

    def test_leader_stopped_past_its_lease_writes_nothing_afterwards(self):
        self.place(*[item(e) for e in range(1, 51)])
        old = self.leader()
        old.kill(signal.SIGSTOP)
        late = [self.rpc.start(old.address, SERVICE + "Place", {"region": REGION, "items": [item(e)]}, timeout_s=30)
                for e in range(1000, 1020)]
        new = self.leader(but=[old])
        self.rpc.call(new.address, SERVICE + "Place", {"region": REGION, "items": [item(51)]})
        before = self.stored()
        self.assertEqual(len(before), 51)
        old.kill(signal.SIGCONT)
        for call in late:
            try:
                self.assertTrue(call.result().leader.elsewhere)
            except grpc.RpcError as e:  # it saw its deadline or its lost connection first
                self.assertEqual(e.code(), grpc.StatusCode.UNAVAILABLE)
        self.assertEqual(self.stored(), before)
        answer = wait_until(lambda: self.rpc.call(old.address, SERVICE + "Place", {"region": REGION, "items": [item(1)]})
                            ["leader"]["address"] == new.address, 5, "the old one follows")
        self.assertTrue(answer)
        self.assert_memory_is_database()

    def test_leader_stopped_inside_a_commit_blocks_nobody_for_long(self):
        """Its transaction holds the lease's row until the database ends it."""
        old = self.leader()
        columns = "(region, event_id, attempt, droplet_id, hypervisor_id, vcpus, memory_mib, disk_gib, at)"
        with OpenTransaction(f"INSERT INTO claims {columns} VALUES ('{REGION}', 7, 1, 7, 1, 1, 1, 1, 0)"):
            call = self.rpc.start(old.address, SERVICE + "Place", {"region": REGION, "items": [item(7)]}, timeout_s=30)
            wait_until(blocked_insert, 3, "a lock wait")
            old.kill(signal.SIGSTOP)
        new = self.leader(but=[old], timeout_s=12)
        self.assertEqual(self.rpc.call(new.address, SERVICE + "Place", {"region": REGION, "items": [item(8)]})
                         ["placements"][0]["outcome"], "OUTCOME_PLACED")
        old.kill(signal.SIGCONT)
        with self.assertRaises(grpc.RpcError) as failed:
            call.result()
        self.assertEqual(failed.exception.code(), grpc.StatusCode.UNAVAILABLE)
        self.assertEqual(set(self.stored()), {(8, 1)})
        self.assert_memory_is_database()

    def test_slow_commit_of_one_region_costs_no_other_region_its_leader(self):
        other = self.follower()
        other.stop()
        leader = self.leader()
        wait_until(lambda: all(r["leading"] for r in self.regions_of(leader)), 10, "one leads both")
        epochs = {r["region"]: r["epoch"] for r in self.regions_of(leader)}
        other.start()
        columns = "(region, event_id, attempt, droplet_id, hypervisor_id, vcpus, memory_mib, disk_gib, at)"
        with OpenTransaction(f"INSERT INTO claims {columns} VALUES ('{REGION}', 7, 1, 7, 1, 1, 1, 1, 0)"):
            call = self.rpc.start(leader.address, SERVICE + "Place", {"region": REGION, "items": [item(7)]}, timeout_s=30)
            wait_until(lambda: '"lease not taken in this round"' in other.log.read_text(), 10, "the other one would take it")
        call.exception()  # placed or not: the database knows
        for region in self.regions_of(leader):
            if region["region"] != REGION:
                self.assertTrue(region["leading"])
                self.assertEqual(region["epoch"], epochs[region["region"]])
        self.leader()
        self.assert_memory_is_database()

    def test_clean_stop_hands_over_at_once(self):
        placed = self.place(item(1))
        old = self.leader()
        self.assertEqual(old.stop(), 0)
        new = self.leader(but=[old])
        taken = [json.loads(line) for line in new.log.read_text().splitlines() if '"lease taken"' in line]
        self.assertTrue(all(line["was_free"] for line in taken), taken)  # given back, not waited for
        self.assertEqual(self.place(item(1)), placed)


class TestFailedCommits(Story):
    columns = "(region, event_id, attempt, droplet_id, hypervisor_id, vcpus, memory_mib, disk_gib, at)"

    def test_nothing_decided_on_a_failed_commit_becomes_true(self):
        leader = self.leader()
        before = self.place(*[item(e) for e in range(1, 21)])
        with OpenTransaction(f"INSERT INTO claims {self.columns} VALUES ('{REGION}', 500, 1, 7, 1, 1, 1, 1, 0)"):
            first = self.rpc.start(leader.address, SERVICE + "Place", {"region": REGION, "items": [item(500)]}, timeout_s=20)
            connection = wait_until(blocked_insert, 3, "a lock wait")
            later = [self.rpc.start(leader.address, SERVICE + "Place", {"region": REGION, "items": [item(e)]}, timeout_s=20)
                     for e in range(501, 521)]
            later.append(self.rpc.start(leader.address, SERVICE + "Place", {"region": REGION, "items": [item(500)]}, timeout_s=20))
            later.append(self.rpc.start(leader.address, SERVICE + "Release",
                                        {"region": REGION, "items": [{"event_id": 1, "attempt": 1}]}, timeout_s=20))
            decided = f'scheduler_decisions_total{{region="{REGION}",outcome="placed"}} 42'  # 20, 1, 20 and again
            wait_until(lambda: decided in leader.get("/metrics")[1], 2, "all decided on what is not committed")
            sql(f"KILL {connection}")
            for call in [first, *later]:
                with self.assertRaises(grpc.RpcError) as failed:
                    call.result()
                self.assertEqual(failed.exception.code(), grpc.StatusCode.UNAVAILABLE)
        self.assertEqual(set(self.stored()), {(e, 1) for e in range(1, 21)})
        self.assert_memory_is_database()
        self.assertEqual(self.place(*[item(e) for e in range(1, 21)]), before)
        self.assertEqual(self.place(item(500))[0]["outcome"], "OUTCOME_PLACED")
        self.assertIs(self.leader(), leader)
        self.assert_memory_is_database()

    def test_the_database_is_right_when_it_disagrees(self):
        leader = self.leader()
        with OpenTransaction(f"INSERT INTO claims {self.columns} VALUES ('{REGION}', 500, 1, 7, 3, 1, 1, 1, 0)") as other:
            call = self.rpc.start(leader.address, SERVICE + "Place", {"region": REGION, "items": [item(500)]}, timeout_s=20)
            wait_until(blocked_insert, 3, "a lock wait")
            other.commit()
        with self.assertRaises(grpc.RpcError):
            call.result()
        self.assertEqual(self.place(item(500))[0]["hypervisor_id"], 3)
        self.assert_memory_is_database()

    def test_connections_killed_again_and_again_leave_memory_and_database_alike(self):
        answered, released, done = {}, set(), threading.Event()

        def ask(first):
            event = first
            while not done.is_set():
                answer = self.place(item(event))[0]
                if answer["outcome"] == "OUTCOME_PLACED":
                    answered[event] = answer["hypervisor_id"]
                if event % 3 == 0:
                    self.call("Release", {"region": REGION, "items": [{"event_id": event, "attempt": 1}]})
                    released.add(event)
                event += 6

        askers = [threading.Thread(target=ask, args=(n,)) for n in range(1, 7)]
        for asker in askers:
            asker.start()
        for n in range(1, 16):
            wait_until(lambda goal=10 * n: len(answered) >= goal, 20, "a load in spite of it")
            for row in sql("SELECT id FROM information_schema.processlist WHERE user = 'tester'"):
                try:
                    sql(f"KILL {row[0]}")
                except RuntimeError:
                    pass  # gone by itself
        done.set()
        for asker in askers:
            asker.join()
        stored = self.stored()
        for event, hypervisor in answered.items():
            self.assertEqual(stored.get((event, 1)), None if event in released else hypervisor)
        self.assert_memory_is_database()

    def test_database_away_and_back(self):
        placed = self.place(item(1))
        server_do("stop")
        leader = self.replicas[0]
        wait_until(lambda: all(r.get("/readyz")[0] == 503 for r in self.replicas), 10, "not ready")
        for replica in self.replicas:
            try:
                answer = self.rpc.call(replica.address, SERVICE + "Place", {"region": REGION, "items": [item(2)]})
                self.assertTrue(answer["leader"]["elsewhere"])
            except grpc.RpcError as e:
                self.assertEqual(e.code(), grpc.StatusCode.UNAVAILABLE)
        server_do("start")
        self.leader()
        self.assertEqual(self.place(item(1)), placed)
        self.assertEqual(self.place(item(2))[0]["outcome"], "OUTCOME_PLACED")
        self.assert_memory_is_database()
        self.assertIsNone(leader.process.poll())


class TestReconciler(Story):
    def setUp(self):
        self.unwanted, self.asked, self.failing = set(), set(), False
        self.harpoon = Answering(self.certificates, "harpoon", "harpoon.internal.v1.Harpoon/ClaimsWanted", self.answer)
        self.addCleanup(self.harpoon.stop)
        self.options = (*self.options, "--harpoon", f"127.0.0.1:{self.harpoon.port}", "--reconcile-after-ms", "1000")
        super().setUp()

    def answer(self, request):
        if self.failing:
            raise RuntimeError("not now")
        self.asked |= {c["event_id"] for c in request["claims"]}
        return {"wanted": [c["event_id"] not in self.unwanted for c in request["claims"]]}

    def test_only_what_is_not_wanted_is_released(self):
        self.unwanted = {5, 6}
        self.place(*[item(e) for e in range(1, 11)])
        wait_until(lambda: len(self.stored()) == 8, 15, "unwanted claims released")
        wait_until(lambda: self.asked == set(range(1, 11)), 15, "all asked about")
        self.assertEqual(set(self.stored()), {(e, 1) for e in range(1, 11) if e not in (5, 6)})
        self.assert_memory_is_database()

    def test_no_answer_releases_nothing(self):
        self.failing, self.unwanted = True, set(range(1, 11))
        self.place(*[item(e) for e in range(1, 11)])
        wait_until(lambda: "unanswered" in self.leader().get("/metrics")[1], 15, "asked in vain")
        self.assertEqual(len(self.stored()), 10)
        self.failing = False
        wait_until(lambda: self.stored() == {}, 30, "released when answered")
        self.assert_memory_is_database()


if __name__ == "__main__":
    BINARY = sys.argv.pop(1)
    FOLDER = Path(tempfile.mkdtemp(prefix="harpoon-scheduler-"))
    (FOLDER / "password").write_text(os.environ["HARPOON_TEST_PASSWORD"] + "\n")
    (FOLDER / "password").chmod(0o600)
    load_protos(FOLDER / "python")
    Story.certificates = Certificates(FOLDER / "pki")
    program = unittest.main(exit=False, verbosity=2)
    if program.result.wasSuccessful():
        shutil.rmtree(FOLDER)
    else:
        print(f"logs are in {FOLDER}")
    sys.exit(not program.result.wasSuccessful())
