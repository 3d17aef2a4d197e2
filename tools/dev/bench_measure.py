"""What a run has cost: CPU and memory from /proc, counters of MariaDB, of the broker, and of the daemons."""
import re
import time
import urllib.request
from pathlib import Path

TICKS_PER_S = 100
STATUS = ("Questions", "Com_commit", "Com_insert", "Com_update", "Com_select", "Com_delete", "Handler_write",
          "Handler_update", "Handler_delete", "Innodb_os_log_written", "Innodb_data_fsyncs")


def processes(cluster):
    """pid by name, of all daemons and both servers."""
    found = {name: daemon.pid() for name, daemon in cluster.daemons.items()}
    found.update(mariadb=cluster.mariadb.pid(), rabbitmq=cluster.rabbitmq.pid())
    return {name: pid for name, pid in found.items() if pid is not None}


def cpu_us(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1000000 // TICKS_PER_S


def memory_kib(pid, field):
    """`VmHWM` (the peak) or `VmRSS`."""
    return int(re.search(rf"^{field}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.M)[1])


def forget_peak(pid):
    Path(f"/proc/{pid}/clear_refs").write_text("5\n")


def scrape(address):
    """The samples of a /metrics page: {"name{labels}": value}."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {key: float(value) for key, value in (line.rsplit(" ", 1) for line in lines if line and line[0] != "#")}


def total(samples, name, *words):
    """The sum of one metric over the labels that contain all of `words`."""
    return sum(value for key, value in samples.items()
               if key.split("{")[0] == name and all(word in key for word in words))


class Snapshot:
    """All counters at one moment; `after - before` is what a run took."""

    def __init__(self, cluster):
        at = cluster.layout
        self.time = time.monotonic()
        self.cpu = {name: cpu_us(pid) for name, pid in processes(cluster).items()}
        rows = cluster.mariadb.sql("SHOW GLOBAL STATUS")
        self.sql = {name: int(value) for name, value in rows if name in STATUS}
        broker = scrape(f"127.0.0.1:{cluster.rabbitmq.prometheus_port}")
        self.published = total(broker, "rabbitmq_global_messages_received_total", "amqp091")
        self.delivered = (total(broker, "rabbitmq_global_messages_delivered_consume_manual_ack_total", "amqp091")
                          + total(broker, "rabbitmq_global_messages_delivered_consume_auto_ack_total", "amqp091"))
        agents = [scrape(at.agents_admin(region)) for region in at.regions]
        self.journal_commits = sum(total(s, "hypervisor_agent_journal_commits_total") for s in agents)

    def __sub__(self, before):
        taken = object.__new__(Snapshot)
        taken.time = self.time - before.time
        taken.cpu = {name: us - before.cpu.get(name, 0) for name, us in self.cpu.items()}
        taken.sql = {name: value - before.sql[name] for name, value in self.sql.items()}
        taken.sql["Questions"] -= 1  # this look itself
        for field in ("published", "delivered", "journal_commits"):
            setattr(taken, field, getattr(self, field) - getattr(before, field))
        return taken


def percentiles(values, name):
    """{"NAME_p50_ms": …, p95, p99, max} of milliseconds."""
    ordered = sorted(values)
    if not ordered:
        return {}
    pick = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {f"{name}_{word}_ms": round(ordered[int((len(ordered) - 1) * p)], 2) for word, p in pick.items()}
