"""Where everything of one running Harpoon lives: folders, ports, names. Values only; starts nothing."""
import hashlib
import json
import os
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_PORT_BASE = 17000
PORTS = 200  # how many from the base on
DEFAULTS = {
    "regions": ["nyc3", "ams3"],
    "hypervisors": None,  # per region: 20 with sim, 1 with libvirt
    "driver": "sim",
    "sim_shape": "512,2097152,100000",
    "latency_ms": 50,
    "replicas": 1,  # of api and worker; schedulers are never fewer than 2
    "port_base": DEFAULT_PORT_BASE,
    "create_deadline_s": 900,
}


class Layout:
    """The options of an `up`, and all names and numbers that follow from them."""

    def __init__(self, run=None, build=None, options=None):
        self.run = Path(run or os.environ.get("HARPOON_RUN_FOLDER") or ROOT / "run").resolve()
        self.build = Path(build or os.environ.get("HARPOON_BUILD_FOLDER") or ROOT / "build").resolve()
        self.options = dict(DEFAULTS)
        self.options.update(options or self.stored() or {})
        if self.options["hypervisors"] is None:
            self.options["hypervisors"] = 1 if self.options["driver"] == "libvirt" else 20

    @property
    def state_file(self):
        return self.run / "state.json"

    def stored(self):
        """The options of the last `up` in this folder, or None."""
        try:
            return json.loads(self.state_file.read_text())
        except (OSError, ValueError):
            return None

    def store(self):
        self.run.mkdir(parents=True, exist_ok=True)
        self.state_file.write_text(json.dumps(self.options, indent=1) + "\n")

    regions = property(lambda self: self.options["regions"])
    hypervisors = property(lambda self: self.options["hypervisors"])
    apis = property(lambda self: self.options["replicas"])
    workers = property(lambda self: self.options["replicas"])
    schedulers = property(lambda self: max(2, self.options["replicas"]))
    routers = 2  # a region

    def port(self, offset):
        return self.options["port_base"] + offset

    def address(self, offset):
        return f"127.0.0.1:{self.port(offset)}"

    # Offsets: 0-4 RabbitMQ, 10+ api, 40+ worker, 60+ scheduler, 80+ routers, 160+ agents.
    amqp_port = property(lambda self: self.port(0))

    def api_http(self, i):
        return self.address(10 + 3 * (i - 1))

    def api_rpc(self, i):
        return self.address(11 + 3 * (i - 1))

    def api_admin(self, i):
        return self.address(12 + 3 * (i - 1))

    def worker_rpc(self, i):
        return self.address(40 + 2 * (i - 1))

    def worker_admin(self, i):
        return self.address(41 + 2 * (i - 1))

    def scheduler_rpc(self, i):
        return self.address(60 + 2 * (i - 1))

    def scheduler_admin(self, i):
        return self.address(61 + 2 * (i - 1))

    def router_rpc(self, region, i):
        return self.address(80 + 4 * self.regions.index(region) + 2 * (i - 1))

    def router_admin(self, region, i):
        return self.address(81 + 4 * self.regions.index(region) + 2 * (i - 1))

    def agents_admin(self, region):
        return self.address(160 + self.regions.index(region))

    def all_workers(self):
        return ",".join(self.worker_rpc(i) for i in range(1, self.workers + 1))

    def all_schedulers(self):
        return ",".join(self.scheduler_rpc(i) for i in range(1, self.schedulers + 1))

    def region_routers(self, region, separator=","):
        return separator.join(self.router_rpc(region, i) for i in range(1, self.routers + 1))

    def hypervisor_numbers(self, region):
        """First and last hypervisor number of a region: numbers are unique over regions."""
        first = 1 + 100000 * self.regions.index(region)
        return first, first + self.hypervisors - 1

    # files
    def short_folder(self, name, most=50):
        """A folder of the run's; elsewhere when its path is too long for the sockets that are to be in it."""
        path = str(self.run / name)
        if len(path) > most:
            path = f"{tempfile.gettempdir()}/harpoon-{hashlib.sha256(path.encode()).hexdigest()[:16]}"
        return path

    def secret(self, name):
        return self.run / "secrets" / name

    @property
    def pki(self):
        return self.run / "pki"

    def binary(self, name):
        return self.build / {"harpoon": "harpoon/harpoon", "scheduler": "scheduler/scheduler",
                             "eventrouter": "eventrouter/eventrouter", "harpoonctl": "harpoonctl/harpoonctl",
                             "hypervisor-agent": "hypervisor-agent/hypervisor-agent"}[name]

    @property
    def url(self):
        return f"http://{self.api_http(1)}"

    @property
    def token(self):
        try:
            return self.secret("api-token").read_text().strip()
        except OSError:
            return ""
