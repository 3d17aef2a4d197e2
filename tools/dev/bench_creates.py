"""./dev bench creates, latency: creates through the public API of a whole system of its own, beside their raw floor."""
import argparse
import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import time
from pathlib import Path

from tools.dev.bench_measure import Snapshot, forget_peak, memory_kib, percentiles, processes
from tools.dev.build import build
from tools.dev.cluster import Cluster
from tools.dev.layout import ROOT, Layout

REGION = "nyc3"
IDLE_S = 3
PATIENCE_S = 60  # without any progress: what is left is stuck
TARGETS = ("harpoon/harpoon", "scheduler/scheduler", "eventrouter/eventrouter", "hypervisor-agent/hypervisor-agent",
           "harpoonctl/harpoonctl", "bench/create_client", "bench/create_floor")
NICE = ("nice", "-n", "19")
FLOOR_TABLES = ("droplets", "events", "accounts")
FLOOR_SCHEDULER_TABLES = ("claims", "leases")


class _Unlimited(Cluster):
    """One account without limits: what is measured is the service, not its politeness."""

    def prepare(self, images=()):
        super().prepare(images)
        self.mariadb.sql("UPDATE accounts SET droplet_limit = 0, rate_limited = 0", "harpoon")


def _say(text):
    print(f"  {text}", flush=True)


@contextlib.contextmanager
def system(hypervisors, **options):
    """An empty system, up and ready, in run-bench/; nothing of it runs afterwards."""
    folder = Path(os.environ.get("HARPOON_BENCH_FOLDER", ROOT / "run-bench"))
    shutil.rmtree(folder, ignore_errors=True)
    layout = Layout(run=folder, options={
        "regions": [REGION], "hypervisors": hypervisors, "port_base": int(os.environ.get("HARPOON_BENCH_PORT_BASE", "19000")),
        **options})
    build(layout, _say, targets=TARGETS)
    cluster = _Unlimited(layout, _say)
    try:
        cluster.up()
        yield cluster
    finally:
        cluster.down()


# ---- the raw floor ----
class Floor:
    """The rows, messages and journal entries of creates by themselves, on the servers of `cluster`."""

    def __init__(self, cluster):
        self.cluster, self.at = cluster, cluster.layout

    def __enter__(self):
        statements = ["DROP DATABASE IF EXISTS bench_floor", "CREATE DATABASE bench_floor"]
        statements += [f"CREATE TABLE bench_floor.{t} LIKE harpoon.{t}" for t in FLOOR_TABLES]
        statements += [f"CREATE TABLE bench_floor.{t} LIKE scheduler.{t}" for t in FLOOR_SCHEDULER_TABLES]
        statements += ["INSERT INTO bench_floor.accounts SELECT * FROM harpoon.accounts",
                       f"INSERT INTO bench_floor.leases VALUES ('{REGION}', 1, 'floor', 1)",
                       "GRANT SELECT, INSERT, UPDATE, DELETE ON bench_floor.* TO harpoon_api@localhost"]
        self.cluster.mariadb.sql(";\n".join(statements))
        sizes = self.cluster.mariadb.sql("SELECT AVG(LENGTH(e.params)), AVG(LENGTH(d.body)) FROM events e, droplets d "
                                         "WHERE d.event_id = e.id OR d.id = e.droplet_id", "harpoon")[0]
        self.params, self.body = (256, 128) if sizes[0] == "NULL" else (int(float(v)) for v in sizes)
        return self

    def __exit__(self, *error):
        self.cluster.mariadb.sql("DROP DATABASE bench_floor")
        with contextlib.suppress(OSError):
            self.cluster.rabbitmq.api("queues/%2F/events.bench.create", method="DELETE")

    def run(self, mode, count, *more):
        journal = self.at.run / "floor-journal.db"
        for path in journal.parent.glob("floor-journal.db*"):
            path.unlink()
        command = [self.at.build / "bench/create_floor", mode, "--mysql-socket", self.cluster.mariadb.socket,
                   "--mysql-user", "harpoon_api", "--mysql-password-file", self.at.secret("mysql-harpoon_api"),
                   "--mysql-database", "bench_floor", "--amqp-port", str(self.at.amqp_port), "--amqp-user", "harpoon",
                   "--amqp-password-file", self.at.secret("amqp-harpoon"), "--journal", journal, "--count", str(count),
                   "--params-bytes", str(self.params), "--body-bytes", str(self.body), *more]
        if mode == "throughput":
            command = [*NICE, *command]
        ran = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=600)
        if ran.returncode:
            raise RuntimeError(ran.stderr.strip())
        return json.loads(ran.stdout)


def floor_cost(cluster, count, journal_commits):
    """CPU of the servers and of the journal for `count` creates, in µs each."""
    with Floor(cluster) as floor:
        before = Snapshot(cluster)
        ran = floor.run("throughput", count, "--batch", "32", "--journal-commits", str(int(journal_commits)))
        time.sleep(1)  # what the servers do behind
        taken = Snapshot(cluster) - before
    cost = {name: round(taken.cpu[name] / count, 1) for name in ("mariadb", "rabbitmq")}
    cost["journal"] = round(ran["journal_cpu_us"] / count, 1)
    return {"cpu_us": cost, "sum": round(sum(cost.values()), 1), "per_s": round(count / ran["seconds"], 1),
            "redo_bytes": round(taken.sql["Innodb_os_log_written"] / count)}


# ---- the run ----
def _client(cluster, count, concurrency, rate, samples):
    """At nice 19, unless it does one thing at a time: then its own waiting would be measured."""
    at = cluster.layout
    command = [*(NICE if concurrency > 1 else ()), at.build / "bench/create_client", "--address", at.api_http(1),
               "--token-file", at.secret("api-token"), "--region", REGION, "--count", str(count), "--concurrency", str(concurrency), "--samples", samples]
    if rate:
        command += ["--rate", str(rate)]
    return subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True)


def _unfinished(cluster):
    return int(cluster.mariadb.sql("SELECT COUNT(*) FROM events WHERE check_at IS NOT NULL", "harpoon")[0][0])


def _wait_all_ended(cluster):
    """Watches the ledger of the simulated machines, which costs the system nothing, then looks. Returns (left, looks)."""
    ledger, size, since, looks = cluster.layout.run / "sim-ledger.log", -1, time.monotonic(), 0
    while True:
        time.sleep(0.25)
        now = ledger.stat().st_size if ledger.exists() else 0
        if now != size:
            size, since = now, time.monotonic()
            continue
        looks += 1
        left = _unfinished(cluster)
        if left == 0 or time.monotonic() - since > PATIENCE_S:
            return left, looks


def drive(cluster, count, concurrency, rate):
    """Posts `count` creates and waits for their end. Returns what the client said, and (left, looks)."""
    samples = cluster.layout.run / "samples"
    client = _client(cluster, count, concurrency, rate, samples)
    said = client.communicate(timeout=1800)[0]
    if not said:
        raise RuntimeError("the client failed")
    left, looks = _wait_all_ended(cluster)
    sent = {int(droplet): int(at) for droplet, at, _ in (line.split() for line in samples.read_text().splitlines())}
    return json.loads(said), sent, left, looks


def _accepted_by_agents(cluster):
    """When each event's job was written into its agent's journal, unix ms."""
    path = cluster.layout.run / f"agents-{REGION}" / "journal.db"
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return dict(db.execute("SELECT event, accepted_ms FROM jobs"))


def outcome(cluster, sent):
    """What the database says of the creates in `sent` ({droplet: unix ms}): latencies, rate, failures."""
    rows = cluster.mariadb.sql(f"SELECT droplet_id, id, state, attempt, t_dispatched, t_done FROM events "
                               f"WHERE type = 1 AND droplet_id >= {min(sent)}", "harpoon")
    jobs = _accepted_by_agents(cluster)
    found = {int(row[0]): row[1:] for row in rows if int(row[0]) in sent}
    active = {d: int(row[4]) for d, row in found.items() if row[1] == "4"}
    result = {"failed": sum(row[1] == "5" for row in found.values()),
              "stuck": len(sent) - sum(row[1] in "456" for row in found.values()),
              "active": len(active), "attempts_more_than_one": sum(row[2] != "1" for row in found.values())}
    if active:
        seconds = (max(active.values()) - min(sent.values())) / 1000
        result.update(completed_s=round(seconds, 3), completed_per_s=round(len(active) / max(seconds, 0.001), 1))
    result.update(percentiles([jobs[int(row[0])] - sent[d] for d, row in found.items() if int(row[0]) in jobs], "latency_agent"))
    result.update(percentiles([int(row[3]) - sent[d] for d, row in found.items() if row[3] != "NULL"], "latency_dispatched"))
    result.update(percentiles([at - sent[d] for d, at in active.items()], "latency_active"))
    return result


def _costs(taken, count, looks):
    cpu = {name: round(us / count, 1) for name, us in sorted(taken.cpu.items())}
    questions = taken.sql["Questions"] - looks
    return {"cpu_us_per_create": round(sum(taken.cpu.values()) / count, 1), "cpu_us_per_create_by_process": cpu,
            "sql_per_create": round(questions / count, 3), "commits_per_create": round(taken.sql["Com_commit"] / count, 4),
            "rows_written_per_create": round(sum(taken.sql[f"Handler_{w}"] for w in ("write", "update", "delete")) / count, 2),
            "redo_bytes_per_create": round(taken.sql["Innodb_os_log_written"] / count),
            "statements": {k: v for k, v in taken.sql.items() if k.startswith("Com_")},
            "amqp_per_create": round((taken.published + taken.delivered) / count, 3),
            "amqp_published_per_create": round(taken.published / count, 3),
            "journal_commits_per_create": round(taken.journal_commits / count, 4)}


def _idle_cores(cluster):
    before = Snapshot(cluster)
    time.sleep(IDLE_S)
    taken = Snapshot(cluster) - before
    return {name: round(us / taken.time / 1e6, 4) for name, us in sorted(taken.cpu.items())}


@contextlib.contextmanager
def _perf(path, cluster):
    """Samples all processes of the run into `path` (perf.data)."""
    if path is None:
        yield
        return
    pids = ",".join(str(pid) for pid in processes(cluster).values())
    perf = subprocess.Popen(["perf", "record", "-q", "-F", "299", "-g", "-o", str(path), "-p", pids])
    try:
        yield
    finally:
        perf.send_signal(2)
        perf.wait(timeout=60)


def _options(name, words, count, concurrency, rate, hypervisors):
    """The options both benches have, with their defaults."""
    parser = argparse.ArgumentParser(prog=f"./dev bench {name}")
    parser.add_argument("--count", type=int, default=count, help=f"creates ({count})")
    if concurrency > 1:
        parser.add_argument("--concurrency", type=int, default=concurrency, help=f"requests at a time ({concurrency})")
    parser.add_argument("--rate", type=float, default=rate, help=f"requests a second ({rate or 'as fast as answered'})")
    parser.add_argument("--hypervisors", type=int, default=hypervisors, help=f"simulated hypervisors ({hypervisors})")
    parser.add_argument("--latency-ms", type=int, default=50, help="how long a simulated create takes (50)")
    parser.add_argument("--perf", metavar="FILE", help="record a profile of all processes with perf")
    return parser.parse_args(words)


def creates(words):
    """Throughput. Prints one JSON line."""
    args = _options("creates", words, 10000, 1000, None, 1000)
    with system(args.hypervisors, latency_ms=args.latency_ms) as cluster:
        warm = min(500, args.count)
        drive(cluster, warm, min(args.concurrency, 64), None)
        pids = processes(cluster)
        idle = _idle_cores(cluster)
        floor_count = min(args.count, 20000)
        floors = [floor_cost(cluster, floor_count, floor_count * 3 // 32)]
        for pid in pids.values():
            forget_peak(pid)
        before = Snapshot(cluster)
        rss = {name: memory_kib(pid, "VmRSS") for name, pid in pids.items()}
        with _perf(args.perf, cluster):
            said, sent, left, looks = drive(cluster, args.count, args.concurrency, args.rate)
        taken = Snapshot(cluster) - before
        connections = cluster.database_connections()
        peaks = {name: round(memory_kib(pid, "VmHWM") / 1024, 1) for name, pid in sorted(pids.items())}
        grown = {name: round((memory_kib(pid, "VmRSS") - rss[name]) / 1024, 1) for name, pid in sorted(pids.items())}
        result = outcome(cluster, sent)
        result["stuck"] = max(result["stuck"], left)
        result["failed"] += said["not_accepted"]
        per_create = taken.journal_commits / args.count
        floors.append(floor_cost(cluster, floor_count, per_create * floor_count))
    costs = _costs(taken, args.count, looks)
    floor_us = round(sum(f["sum"] for f in floors) / len(floors), 1)
    idle_us = sum(idle.values()) * taken.time * 1e6 / args.count
    above = {"idle_cpu_us_per_create": round(idle_us, 1),
             "cpu_ratio_to_floor_above_idle": round((costs["cpu_us_per_create"] - idle_us) / floor_us, 2)}
    result = {"bench": "creates", "count": args.count, "concurrency": args.concurrency, "rate": args.rate or 0,
              "hypervisors": args.hypervisors, **result, **said, **costs, "floor_cpu_us_per_create": floor_us,
              "cpu_ratio_to_floor": round(costs["cpu_us_per_create"] / floor_us, 2), **above, "floor_before": floors[0],
              "floor_after": floors[1], "idle_cores": idle, "database_connections": connections,
              "memory_peak_mib": peaks, "memory_grown_mib": grown}
    print(json.dumps(result))
    return 0 if result["failed"] == 0 and result["stuck"] == 0 else 1


def latency(words):
    """One create at a time on an idle system, beside the bare commits on its path. Prints one JSON line."""
    args = _options("latency", words, 100, 1, 4.0, 100)
    with system(args.hypervisors, latency_ms=args.latency_ms) as cluster:
        drive(cluster, 20, 1, args.rate)
        with Floor(cluster) as floor:
            bare = floor.run("latency", args.count)
        with _perf(args.perf, cluster):
            said, sent, left, _ = drive(cluster, args.count, 1, args.rate)
        result = outcome(cluster, sent)
        with Floor(cluster) as floor:
            again = floor.run("latency", args.count)
    bare = {key: round((bare[key] + again[key]) / 2, 3) for key in bare}
    to_agent = sum(bare[f"{step}_p50_ms"] for step in ("accept", "message", "claim", "journal"))
    to_active = to_agent + sum(bare[f"{step}_p50_ms"] for step in ("journal", "final"))
    budget = 1.5 * to_agent + 2
    result = {"bench": "latency", "count": args.count, "driver_latency_ms": args.latency_ms, **result, **said,
              "bare": bare, "bare_to_agent_ms": round(to_agent, 2), "bare_to_active_ms": round(to_active, 2),
              "budget_to_agent_ms": round(budget, 2), "within_budget": result["latency_agent_p50_ms"] <= budget}
    print(json.dumps(result))
    return 0 if left == 0 and result["failed"] == 0 else 1
