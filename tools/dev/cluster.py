"""All processes of one running Harpoon on this machine, in the order of their start: what `./dev up` starts and `down` stops."""
import json
import secrets
import subprocess
import time

from tests.support.servers import MariaDB, RabbitMQ, wait_until
from tools.dev.layout import ROOT
from tools.dev.processes import Daemon, end_leftovers

SERVICES = ("mariadb", "rabbitmq")


def _random_secret(path):
    """The secret in `path`, made when it is not there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(24) + "\n")
    return path.read_text().strip()


class Cluster:
    def __init__(self, layout, say=print):
        self.layout, self.say = layout, say
        self.mariadb = MariaDB(layout.run / "mariadb")
        self.rabbitmq = RabbitMQ(layout.run / "rabbitmq", layout.amqp_port, self._definitions(),
                                 ("admin", self._amqp_secret("admin")))
        self.daemons = {d.name: d for d in self._daemons()}

    # ---- what there is ----
    def _amqp_secret(self, user):
        return _random_secret(self.layout.secret(f"amqp-{user}"))

    def _definitions(self):
        """Users and topology as the broker loads them when it starts. Only `harpoon` may write; `worker` may only read."""
        regions = self.layout.regions

        def queue(name):
            return {"name": name, "vhost": "/", "durable": True, "auto_delete": False,
                    "arguments": {"x-queue-type": "quorum", "x-delivery-limit": 50, "x-max-length": 200000,
                                  "x-max-length-bytes": 1073741824, "x-overflow": "reject-publish",
                                  "x-dead-letter-exchange": "events.dead", "x-dead-letter-routing-key": "events.dead",
                                  "x-dead-letter-strategy": "at-least-once"}}

        names = [f"events.{region}.{kind}" for region in regions for kind in ("create", "action")]
        queues = [queue(name) for name in names]
        queues.append({"name": "events.dead", "vhost": "/", "durable": True, "auto_delete": False,
                       "arguments": {"x-queue-type": "quorum"}})
        bindings = [{"source": "events", "vhost": "/", "destination": name, "destination_type": "queue",
                     "routing_key": name, "arguments": {}} for name in names]
        bindings.append({"source": "events.dead", "vhost": "/", "destination": "events.dead",
                         "destination_type": "queue", "routing_key": "events.dead", "arguments": {}})
        own = "^events(\\..+)?$"
        return {
            "vhosts": [{"name": "/"}],
            "users": [{"name": "harpoon", "password": self._amqp_secret("harpoon"), "tags": []},
                      {"name": "worker", "password": self._amqp_secret("worker"), "tags": []},
                      {"name": "admin", "password": self._amqp_secret("admin"), "tags": ["administrator"]}],
            "permissions": [
                {"user": "harpoon", "vhost": "/", "configure": own, "write": own, "read": own},
                {"user": "worker", "vhost": "/", "configure": "^$", "write": "^$",
                 "read": "^events\\.[a-z0-9]+\\.(create|action)$"},
                {"user": "admin", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}],
            "exchanges": [{"name": name, "vhost": "/", "type": "topic", "durable": True, "auto_delete": False,
                           "internal": False, "arguments": {}} for name in ("events", "events.dead")],
            "queues": queues,
            "bindings": bindings,
        }

    def _mysql_options(self, user, database):
        return ["--mysql-socket", self.mariadb.socket, "--mysql-user", user, "--mysql-password-file",
                str(self.layout.secret(f"mysql-{user}")), "--mysql-database", database]

    def _tls_options(self, identity):
        pki = self.layout.pki
        return ["--tls-ca", str(pki / "ca.pem"), "--tls-certificate", str(pki / f"{identity}.pem"),
                "--tls-key", str(pki / f"{identity}.key")]

    def _amqp_options(self, user):
        return ["--amqp-host", "127.0.0.1", "--amqp-port", str(self.layout.amqp_port), "--amqp-user", user,
                "--amqp-password-file", str(self.layout.secret(f"amqp-{user}"))]

    def _daemons(self):
        at, regions = self.layout, ",".join(self.layout.regions)
        for i in range(1, at.schedulers + 1):
            yield Daemon(at, f"scheduler-{i}", [
                at.binary("scheduler"), "serve", "--listen", at.scheduler_rpc(i), "--advertise", at.scheduler_rpc(i),
                "--admin-listen", at.scheduler_admin(i), "--regions", regions, "--harpoon", at.all_workers(),
                *self._mysql_options("scheduler", "scheduler"), *self._tls_options("scheduler")], at.scheduler_admin(i))
        for i in range(1, at.workers + 1):
            yield Daemon(at, f"harpoon-worker-{i}", [
                at.binary("harpoon"), "worker", "--listen", at.worker_rpc(i), "--admin-listen", at.worker_admin(i),
                "--regions", regions, "--schedulers", at.all_schedulers(), "--routers",
                ",".join(f"{r}={at.region_routers(r, '|')}" for r in at.regions),
                *self._mysql_options("harpoon_worker", "harpoon"), *self._amqp_options("worker"),
                *self._tls_options("harpoon")], at.worker_admin(i))
        for i in range(1, at.apis + 1):
            yield Daemon(at, f"harpoon-api-{i}", [
                at.binary("harpoon"), "api", "--http-listen", at.api_http(i), "--listen", at.api_rpc(i),
                "--admin-listen", at.api_admin(i), "--schedulers", at.all_schedulers(),
                "--create-deadline-s", str(at.options["create_deadline_s"]),
                *self._mysql_options("harpoon_api", "harpoon"), *self._amqp_options("harpoon"),
                *self._tls_options("harpoon")], at.api_admin(i))
        for region in at.regions:
            for i in range(1, at.routers + 1):
                yield Daemon(at, f"eventrouter-{region}-{i}", [
                    at.binary("eventrouter"), "--region", region, "--name", f"{region}-{i}", "--listen",
                    at.router_rpc(region, i), "--advertise", at.router_rpc(region, i), "--admin-listen",
                    at.router_admin(region, i), "--peers", at.region_routers(region), "--harpoon", at.all_workers(),
                    "--schedulers", at.all_schedulers(), *self._tls_options("eventrouter")], at.router_admin(region, i))
        for region in at.regions:
            yield Daemon(at, f"agents-{region}", self._agent_command(region), at.agents_admin(region))

    def _agent_command(self, region):
        at, options = self.layout, self.layout.options
        first, last = at.hypervisor_numbers(region)
        identity = f"agents/{region}/{{id}}"
        command = [at.binary("hypervisor-agent"), "--region", region, "--hypervisors", f"{first}-{last}",
                   "--driver", options["driver"], "--state-dir", str(at.run / f"agents-{region}"), "--routers",
                   at.region_routers(region), "--admin-listen", at.agents_admin(region), *self._tls_options(identity)]
        if options["driver"] == "sim":
            return command + ["--sim-shape", options["sim_shape"], "--latency-ms", str(options["latency_ms"]),
                              "--sim-ledger", str(at.run / "sim-ledger.log")]
        return command + ["--libvirt-uri", f"qemu:///embed?root={at.short_folder(f'libvirt-{region}')}"]

    # ---- preparing ----
    def prepare(self, images=()):
        """Users, schemas, catalogue, certificates, token: all idempotent. MariaDB runs."""
        self._make_database_users()
        at = self.layout
        self._run("harpoon schema", [at.binary("harpoon"), "migrate", "--schema", ROOT / "harpoon/schema",
                                     *self._mysql_options("harpoon_migrate", "harpoon")])
        self._run("scheduler schema", [at.binary("scheduler"), "migrate", "--schema", ROOT / "scheduler/schema",
                                       *self._mysql_options("scheduler_migrate", "scheduler")])
        seed = [at.binary("harpoon"), "seed", "--regions", ",".join(at.regions),
                *self._mysql_options("harpoon_api", "harpoon")]
        for image in images:
            seed += ["--image", image]
        self._run("catalogue", seed)
        self._make_token()
        self._make_certificates()

    def _run(self, what, command):
        ran = subprocess.run([str(c) for c in command], capture_output=True, text=True)
        if ran.returncode:
            raise RuntimeError(f"{what}: {ran.stderr.strip() or ran.stdout.strip()}")
        return ran.stdout.strip()

    def _make_database_users(self):
        dml = "SELECT, INSERT, UPDATE, DELETE"
        users = [("harpoon_migrate", "harpoon", "ALL"), ("harpoon_api", "harpoon", dml), ("harpoon_worker", "harpoon", dml),
                 ("scheduler_migrate", "scheduler", "ALL"), ("scheduler", "scheduler", dml)]
        statements = ["CREATE DATABASE IF NOT EXISTS harpoon", "CREATE DATABASE IF NOT EXISTS scheduler"]
        for user, database, rights in users:
            password = _random_secret(self.layout.secret(f"mysql-{user}"))
            statements += [f"CREATE USER IF NOT EXISTS {user}@localhost", f"ALTER USER {user}@localhost IDENTIFIED BY '{password}'",
                           f"GRANT {rights} ON {database}.* TO {user}@localhost"]
        self.mariadb.sql(";\n".join(statements) + ";\n")

    def _make_token(self):
        path = self.layout.secret("api-token")
        if path.exists() and path.read_text().strip():
            return
        token = self._run("token", [self.layout.binary("harpoon"), "token", "create", "--account", "1", "--name", "dev",
                                    *self._mysql_options("harpoon_api", "harpoon")])
        path.touch(mode=0o600)
        path.write_text(token.split()[-1] + "\n")

    def _make_certificates(self):
        at = self.layout
        ctl = at.binary("harpoonctl")
        self._run("certificate authority", [ctl, "pki", "init", "--dir", at.pki])
        for role in ("harpoon", "scheduler", "eventrouter", "operator"):
            self._run(f"certificate of {role}", [ctl, "pki", "issue", "--dir", at.pki, "--role", role])
        for region in at.regions:
            first, last = at.hypervisor_numbers(region)
            self._run(f"certificates of {region}'s agents", [ctl, "pki", "issue", "--dir", at.pki, "--region", region,
                                                            "--hypervisors", f"{first}-{last}"])
        (at.run / "harpoonctl.conf").write_text(
            f"api = {at.api_rpc(1)}\ntls-ca = {at.pki}/ca.pem\ntls-certificate = {at.pki}/operator.pem\n"
            f"tls-key = {at.pki}/operator.key\n")

    # ---- running ----
    def up(self, images=()):
        started = time.monotonic()
        self.layout.store()
        self.mariadb.start(self.say)
        self.say("mariadb: ready")
        self.say("rabbitmq: starting (takes some seconds)")
        self.rabbitmq.start()
        self.say("rabbitmq: ready")
        for server, name in ((self.mariadb, "mariadb"), (self.rabbitmq, "rabbitmq")):
            self._note_pid(name, server)
        self.say("schemas, catalogue, certificates")
        self.prepare(images)
        for daemon in self.daemons.values():
            if daemon.start():
                self.say(f"{daemon.name}: started")
        for daemon in self.daemons.values():
            daemon.wait_ready()
        self._approve()
        self.say(f"all ready after {time.monotonic() - started:.0f} s")

    def _note_pid(self, name, server):
        path = self.layout.run / "pids" / f"{name}.pid"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{server.pid()}\n")

    def _approve(self):
        """Lets every hypervisor that attached be placed on, and waits until each one is."""
        self.say(f"approving {self.layout.hypervisors} hypervisors a region")
        for region in self.layout.regions:
            def all_up(region=region):
                self.ctl("hypervisors", "approve", "--all-new", "--region", region)
                rows = json.loads(self.ctl("hypervisors", "list", "--region", region, "--output", "json"))["hypervisors"]
                return sum(not row["not_placeable_because"] for row in rows) >= self.layout.hypervisors

            wait_until(all_up, 120, f"hypervisors of {region} attached and approved")

    def ctl(self, *words):
        """harpoonctl as the operator; its output."""
        ran = subprocess.run([str(self.layout.binary("harpoonctl")), *words], capture_output=True, text=True,
                             env={"HARPOON_CTL_CONFIG": str(self.layout.run / "harpoonctl.conf"), "PATH": "/usr/bin:/bin"})
        if ran.returncode:
            raise RuntimeError(f"harpoonctl {' '.join(words)}: exit {ran.returncode}: {ran.stderr.strip()}")
        return ran.stdout

    def down(self):
        for daemon in reversed(self.daemons.values()):
            if daemon.pid() is not None:
                self.say(f"{daemon.name}: stopping")
            daemon.stop()
        end_leftovers(self.layout)
        for name, server in (("rabbitmq", self.rabbitmq), ("mariadb", self.mariadb)):
            if server.is_running():
                self.say(f"{name}: stopping")
            server.stop()
            (self.layout.run / "pids" / f"{name}.pid").unlink(missing_ok=True)

    def start(self, name):
        if name in SERVICES:
            server = getattr(self, name)
            server.start()
            self._note_pid(name, server)
        else:
            daemon = self.find(name)
            daemon.start()

    def find(self, name):
        if name not in self.daemons:
            raise RuntimeError(f"no process is called {name}; there are: {', '.join([*SERVICES, *self.daemons])}")
        return self.daemons[name]

    def kill(self, name, sig):
        if name in SERVICES:
            getattr(self, name).kill(sig)
        else:
            self.find(name).signal(sig)

    def log_path(self, name):
        if name in SERVICES:
            return self.mariadb.folder / "error.log" if name == "mariadb" else self.rabbitmq.log_file
        return self.find(name).log_file

    # ---- looking ----
    def status(self):
        rows = []
        for name in SERVICES:
            server = getattr(self, name)
            pid = server.pid()
            ready = pid is not None and server.answers()
            rows.append({"name": name, "pid": pid, "state": "running" if pid else "stopped", "ready": ready, "why": ""})
        for daemon in self.daemons.values():
            state = daemon.state()
            ready, why = daemon.ready() if state == "running" else (False, "")
            rows.append({"name": daemon.name, "pid": daemon.pid(), "state": state, "ready": ready, "why": "" if ready else why})
        return {"processes": rows, "database_connections": self.database_connections(), "url": self.layout.url,
                "regions": self.layout.regions, "hypervisors_per_region": self.layout.hypervisors,
                "driver": self.layout.options["driver"]}

    def database_connections(self):
        """Connections of the control plane, this look at them not counted; None when the database is away."""
        try:
            return int(self.mariadb.sql("SELECT COUNT(*) FROM information_schema.PROCESSLIST "
                                        "WHERE USER NOT IN ('root', 'system user', 'event_scheduler')")[0][0])
        except (RuntimeError, IndexError, OSError):
            return None
