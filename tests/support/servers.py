"""Private MariaDB and RabbitMQ servers: own folder, own ports, loopback only, no system services.

    db = MariaDB("/path/state/mariadb"); db.start(); print(db.sql("SELECT 1")); db.stop()
    mq = RabbitMQ("/path/state/rabbitmq", port=17001, definitions={...}); mq.start(); mq.stop()

Every process carries its folder in the environment (HARPOON_SERVER), so that whatever a server left behind
(epmd, helpers) is found and stopped by process id, even when the pid file is lost.
"""
import hashlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path

MARK = "HARPOON_SERVER"


def marked_pids(mark, value):
    """The processes whose environment says mark=value."""
    want = f"{mark}={value}".encode()
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            env = Path(f"/proc/{entry}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if want in env:
            found.append(int(entry))
    return found


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in ("Z", "X")
    except OSError:
        return False


def wait_until(condition, timeout_s, what):
    """Polls `condition` until it is true; TimeoutError names `what`."""
    end = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {timeout_s} s")
        time.sleep(0.05)


class Server:
    name = "server"
    start_timeout_s = 90

    def __init__(self, folder):
        self.folder = Path(folder).resolve()
        self.pid_file = self.folder / "pid"
        self.log_file = self.folder / "log"

    def environment(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("RABBITMQ_", "MYSQL_", "ERL_"))}
        env[MARK] = str(self.folder)
        return env

    def pid(self):
        """The server's process id, or None when it does not run."""
        try:
            pid = int(self.pid_file.read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return None
        return pid if is_alive(pid) and pid in marked_pids(MARK, self.folder) else None

    def is_running(self):
        return self.pid() is not None

    def start(self, progress=None):
        """Starts it unless it runs, and returns when it answers."""
        if self.is_running() and self.answers():
            return self
        say = progress or (lambda text: None)
        self._end_leftovers()
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.is_prepared():
            say(f"{self.name}: preparing {self.folder}")
            self.prepare()
        say(f"{self.name}: starting")
        with open(self.log_file, "ab") as log:
            process = subprocess.Popen(self.command(), env=self.environment(), stdin=subprocess.DEVNULL,
                                       stdout=log, stderr=log, start_new_session=True, cwd=self.folder)
        self.pid_file.write_text(f"{process.pid}\n")

        def ready():
            if process.poll() is not None:
                tail = self.log_file.read_text(errors="replace").splitlines()[-15:]
                raise RuntimeError(f"{self.name} ended with {process.returncode}; {self.log_file}:\n" + "\n".join(tail))
            return self.answers()

        wait_until(ready, self.start_timeout_s, f"{self.name} in {self.folder}")
        self.after_start()
        return self

    def after_start(self):
        pass

    def kill(self, sig=signal.SIGKILL):
        """Sends `sig` to the server's own process."""
        pid = self.pid()
        if pid is None:
            raise RuntimeError(f"{self.name} does not run")
        os.kill(pid, sig)
        if sig == signal.SIGKILL:
            wait_until(lambda: not is_alive(pid), 10, f"{self.name} {pid} killed")
            self._end_leftovers()

    def stop(self):
        pid = self.pid()
        if pid is not None:
            os.kill(pid, signal.SIGCONT)
            os.kill(pid, signal.SIGTERM)
            try:
                wait_until(lambda: not is_alive(pid), 45, f"{self.name} {pid} stopping")
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
        self._end_leftovers()
        self.pid_file.unlink(missing_ok=True)

    def _end_leftovers(self):
        for sig in (signal.SIGTERM, signal.SIGKILL):
            left = marked_pids(MARK, self.folder)
            for pid in left:
                try:
                    os.kill(pid, sig)
                except ProcessLookupError:
                    pass
            try:
                wait_until(lambda pids=left: not any(is_alive(p) for p in pids), 10, "leftovers")
                return
            except TimeoutError:
                continue

    def wipe(self):
        """Stops it and removes its data."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class MariaDB(Server):
    name = "mariadb"

    def __init__(self, folder, options=()):
        super().__init__(folder)
        self.options = list(options)
        self.data = self.folder / "data"
        self.defaults_file = self.folder / "root.cnf"
        path = str(self.folder / "m.sock")
        if len(path) > 100:  # a unix socket's path must stay below 108 bytes
            path = f"{tempfile.gettempdir()}/harpoon-{hashlib.sha256(path.encode()).hexdigest()[:16]}.sock"
        self.socket = path

    def is_prepared(self):
        return self.defaults_file.exists()

    def prepare(self):
        shutil.rmtree(self.data, ignore_errors=True)
        (self.folder / "tmp").mkdir(exist_ok=True)
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
        made = subprocess.run(["mariadb-install-db", "--no-defaults", f"--user={user}", f"--datadir={self.data}",
                               "--auth-root-authentication-method=normal", "--skip-test-db",
                               "--skip-name-resolve"],
                              env=self.environment(), capture_output=True, text=True)
        if made.returncode:
            raise RuntimeError(f"mariadb-install-db: {made.stdout[-2000:]}{made.stderr[-2000:]}")
        self._write_defaults("")

    def _write_defaults(self, password):
        self.defaults_file.touch(mode=0o600)
        self.defaults_file.write_text(f"[client]\nuser=root\npassword={password}\nsocket={self.socket}\n")

    def command(self):
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
        return ["/usr/sbin/mariadbd", "--no-defaults", f"--user={user}", f"--datadir={self.data}",
                f"--tmpdir={self.folder / 'tmp'}", f"--socket={self.socket}", "--skip-networking",
                f"--pid-file={self.folder / 'mariadbd.pid'}", f"--log-error={self.folder / 'error.log'}",
                "--innodb-buffer-pool-size=512M", "--innodb-log-file-size=256M", "--innodb-flush-method=O_DIRECT",
                "--innodb-flush-log-at-trx-commit=1", "--transaction-isolation=READ-COMMITTED",
                "--character-set-server=utf8mb4", "--performance-schema=OFF", "--max-connections=200",
                *self.options]

    def answers(self):
        return subprocess.run(["mariadb", f"--defaults-file={self.defaults_file}", "-e", "SELECT 1"],
                              capture_output=True).returncode == 0

    def after_start(self):
        if "password=\n" not in self.defaults_file.read_text():
            return
        password = secrets.token_hex(16)
        self.sql(f"SET PASSWORD FOR root@localhost = PASSWORD('{password}'); DELETE FROM mysql.global_priv WHERE User='' "
                 "OR (User='root' AND Host<>'localhost'); FLUSH PRIVILEGES")
        self._write_defaults(password)

    def sql(self, statements, database=None, user=None, password=None):
        """Runs statements as root (or `user`); returns the rows as lists of text. RuntimeError with the server's words."""
        command = ["mariadb", f"--defaults-file={self.defaults_file}", "--batch", "--skip-column-names", "--raw"]
        if user:
            command = ["mariadb", "--no-defaults", f"--socket={self.socket}", f"--user={user}", f"--password={password}",
                       "--batch", "--skip-column-names", "--raw"]
        if database:
            command.append(f"--database={database}")
        ran = subprocess.run(command, input=statements, capture_output=True, text=True)
        if ran.returncode:
            raise RuntimeError(ran.stderr.strip())
        return [line.split("\t") for line in ran.stdout.splitlines()]


class RabbitMQ(Server):
    """`port` and the four after it are used: AMQP, distribution, epmd, management, Prometheus."""
    name = "rabbitmq"

    def __init__(self, folder, port, definitions=None, admin=("admin", "")):
        super().__init__(folder)
        self.port, self.dist_port, self.epmd_port = port, port + 1, port + 2
        self.management_port, self.prometheus_port = port + 3, port + 4
        self.definitions = definitions
        self.admin = admin  # a user of the definitions tagged administrator, for the management API
        self.node = f"harpoon{port}@localhost"

    def is_prepared(self):
        return False  # cheap, and the definitions may have changed

    def prepare(self):
        home = self.folder / "home"
        for sub in (home, self.folder / "mnesia", self.folder / "logs", self.folder / "schema"):
            sub.mkdir(parents=True, exist_ok=True)
        cookie = home / ".erlang.cookie"
        if not cookie.exists():
            cookie.touch(mode=0o600)
            cookie.write_text(secrets.token_hex(20))
            cookie.chmod(0o400)
        (self.folder / "enabled_plugins").write_text("[rabbitmq_management,rabbitmq_prometheus].\n")
        lines = [f"listeners.tcp.default = 127.0.0.1:{self.port}",
                 "management.tcp.ip = 127.0.0.1", f"management.tcp.port = {self.management_port}",
                 "prometheus.tcp.ip = 127.0.0.1", f"prometheus.tcp.port = {self.prometheus_port}",
                 "vm_memory_high_watermark.absolute = 1GB", "disk_free_limit.absolute = 50MB",
                 "raft.wal_max_size_bytes = 64000000", "log.console = false", "log.file.level = warning"]
        if self.definitions is not None:
            path = self.folder / "definitions.json"
            path.touch(mode=0o600)
            path.write_text(json.dumps(self.definitions, indent=1))
            lines.append(f"load_definitions = {path}")
        (self.folder / "rabbitmq.conf").write_text("\n".join(lines) + "\n")

    def environment(self):
        env = super().environment()
        f = self.folder
        env.update({
            "HOME": str(f / "home"), "ERL_EPMD_PORT": str(self.epmd_port), "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self.node, "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port), "RABBITMQ_DIST_PORT": str(self.dist_port),
            "RABBITMQ_MNESIA_BASE": str(f / "mnesia"), "RABBITMQ_LOG_BASE": str(f / "logs"),
            "RABBITMQ_PID_FILE": str(f / "beam.pid"), "RABBITMQ_ENABLED_PLUGINS_FILE": str(f / "enabled_plugins"),
            "RABBITMQ_CONFIG_FILE": str(f / "rabbitmq.conf"), "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_FEATURE_FLAGS_FILE": str(f / "feature_flags"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(f / "generated"), "RABBITMQ_SCHEMA_DIR": str(f / "schema"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        })
        return env

    def command(self):
        return ["/usr/lib/rabbitmq/bin/rabbitmq-server"]

    def pid(self):
        # rabbitmq-server is a shell that becomes or waits for the Erlang machine; that machine is the server.
        try:
            pid = int((self.folder / "beam.pid").read_text())
        except (OSError, ValueError):
            return super().pid()
        return pid if is_alive(pid) and pid in marked_pids(MARK, self.folder) else super().pid()

    def api(self, path, method="GET", body=None):
        """The management API as the admin user; decoded JSON, or None for an empty answer."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.management_port}/api/{path}", method=method,
                                         data=None if body is None else json.dumps(body).encode())
        request.add_header("Authorization", "Basic " + b64encode(":".join(self.admin).encode()).decode())
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=20) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def answers(self):
        try:
            return self.api("overview").get("listeners") is not None
        except urllib.error.HTTPError as error:
            return error.code == 401 and self.definitions is None
        except (OSError, ValueError):
            return False

    def wipe_data(self):
        """Kills the node and removes all it stored: a broker that forgot everything."""
        if self.is_running():
            self.kill()
        self._end_leftovers()
        shutil.rmtree(self.folder / "mnesia", ignore_errors=True)
