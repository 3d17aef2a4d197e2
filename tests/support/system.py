"""A whole Harpoon of its own for end-to-end stories: real servers, real daemons, own folder and ports."""
import itertools
import os
import shutil
import unittest
from pathlib import Path

from tests.support.api import Api
from tests.support.ledger import Ledger
from tests.support.servers import wait_until
from tools.dev.cluster import Cluster
from tools.dev.layout import ROOT, Layout
from tools.dev.processes import Daemon

PORT_BASE = int(os.environ.get("HARPOON_TEST_PORT_BASE", "18000"))


class System:
    """`with System(hypervisors=10) as system:` is up, empty and ready; at the end nothing of it runs any more."""

    def __init__(self, images=(), **options):
        self.folder = Path(os.environ.get("HARPOON_TEST_FOLDER", ROOT / "run-test")) / "system"
        shutil.rmtree(self.folder, ignore_errors=True)
        defaults = {"regions": ["nyc3"], "hypervisors": 10, "port_base": PORT_BASE}
        self.layout = Layout(run=self.folder, options={**defaults, **options})
        self.cluster = Cluster(self.layout, say=lambda text: None)
        self.images = images

    def __enter__(self):
        try:
            self.cluster.up(self.images)
        except BaseException:
            self.keep_logs()
            self.cluster.down()
            raise
        self.api = Api(self.layout.url, self.layout.token)
        self.ledger = Ledger(self.folder / "sim-ledger.log")
        return self

    def __exit__(self, *error):
        if error[0] is not None:
            self.keep_logs()
        self.cluster.down()
        self.check_logs()

    def check_logs(self):
        """No daemon may have been caught by a sanitizer."""
        for path in (self.folder / "logs").glob("*.log"):
            text = path.read_text(errors="replace")
            for word in ("Sanitizer", "runtime error:"):
                if word in text:
                    self.keep_logs()
                    raise AssertionError(f"{path.name}: {text[max(0, text.index(word) - 100):][:3000]}")

    def keep_logs(self):
        """Copies the logs aside for whoever looks at a failure."""
        kept = self.folder.parent / "failed-logs"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(self.folder / "logs", kept, dirs_exist_ok=True) if (self.folder / "logs").exists() else None

    def sql(self, statements, database="harpoon"):
        return self.cluster.mariadb.sql(statements, database=database)

    def create_event(self, droplet):
        """(state, attempt, hypervisor) of the droplet's create."""
        row = self.sql(f"SELECT state, attempt, hypervisor_id FROM events WHERE droplet_id={droplet} AND type=1")[0]
        return tuple(int(value) for value in row)

    def start_hypervisor(self, number, latency_ms, routers=None):
        """One more simulated hypervisor, larger than others, in a process of its own; approved. Returns its Daemon."""
        at = self.layout
        self.cluster.ctl("pki", "issue", "--dir", str(at.pki), "--region", "nyc3", "--hypervisors", f"{number}-{number}")
        admin = at.address(170 + number % 30)
        agent = Daemon(at, f"agent-{number}", [
            at.binary("hypervisor-agent"), "--region", "nyc3", "--hypervisors", f"{number}-{number}", "--driver", "sim",
            "--sim-shape", "4,8192,1000", "--latency-ms", str(latency_ms),
            "--sim-ledger", str(at.run / "sim-ledger.log"), "--state-dir", str(at.run / f"agent-{number}"),
            "--routers", ",".join(routers) if routers else at.region_routers("nyc3"), "--admin-listen", admin,
            "--tls-ca", str(at.pki / "ca.pem"), "--tls-certificate", str(at.pki / "agents/nyc3/{id}.pem"),
            "--tls-key", str(at.pki / "agents/nyc3/{id}.key")], admin)
        agent.start()
        agent.wait_ready()

        def approved():
            try:
                self.cluster.ctl("hypervisors", "approve", str(number), "--region", "nyc3")
            except RuntimeError:
                return False  # not seen by the scheduler yet
            return self.sql(f"SELECT 1 FROM hypervisors WHERE id={number} AND status=2", "scheduler")

        wait_until(approved, 60, f"hypervisor {number} approved")
        return agent

    def unfinished(self):
        """Events of the database that have not ended."""
        return int(self.sql("SELECT COUNT(*) FROM events WHERE check_at IS NOT NULL")[0][0])

    def wait_quiet(self, timeout_s=120):
        """Waits until every event has ended."""
        wait_until(lambda: self.unfinished() == 0, timeout_s, "every event ended")

    def create(self, count, prefix="web", **more):
        """Creates Droplets ten at a time, repeating what is shed; returns their ids."""
        ids = []
        while len(ids) < count:
            names = [f"{prefix}-{len(ids) + i}" for i in range(min(10, count - len(ids)))]
            body = {"names": names, "region": "nyc3", "size": "s-1vcpu-1gb", "image": "debian-12-x64", **more}
            answer = self.api.patiently("POST", "/v2/droplets", body)
            if answer.status != 202:
                raise RuntimeError(repr(answer))
            ids += [d["id"] for d in answer.json["droplets"]]
        return ids


class SystemTest(unittest.TestCase):
    """Stories that share one running system, described by `options`."""
    options = {}
    images = ()
    numbers = itertools.count(5001)  # of hypervisors that stories add

    @classmethod
    def setUpClass(cls):
        cls.system = System(images=cls.images, **cls.options)
        cls.addClassCleanup(cls.system.__exit__, None, None, None)
        cls.system.__enter__()
        cls.api = cls.system.api

    def run(self, result=None):
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > before:
            self.system.keep_logs()
        return result

    def add_hypervisor(self, latency_ms, routers=None):
        """(number, Daemon) of one more hypervisor, which is stopped when the test ends."""
        number = next(self.numbers)
        agent = self.system.start_hypervisor(number, latency_ms, routers)
        self.addCleanup(agent.stop)
        return number, agent

    def assert_promises(self, live=()):
        """The ledger shows no droplet with two VMs at any time, and at the end just those in `live`."""
        self.assertEqual(self.system.ledger.check(live), [])
