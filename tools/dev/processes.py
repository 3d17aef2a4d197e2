"""Starting, watching and stopping the daemons of one running Harpoon, by process id only."""
import os
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

from tests.support.servers import is_alive, marked_pids, wait_until

MARK = "HARPOON_RUN"  # in the environment of all that one run folder started


class Daemon:
    """One daemon: its command, where its pid and log are, and the address of its admin port."""

    def __init__(self, layout, name, command, admin, after=()):
        self.layout, self.name, self.command, self.admin, self.after = layout, name, command, admin, after
        self.pid_file = layout.run / "pids" / f"{name}.pid"
        self.log_file = layout.run / "logs" / f"{name}.log"

    def pid(self):
        try:
            pid = int(self.pid_file.read_text())
        except (OSError, ValueError):
            return None
        return pid if is_alive(pid) and pid in marked_pids(MARK, self.layout.run) else None

    def state(self):
        pid = self.pid()
        if pid is None:
            return "stopped"
        with open(f"/proc/{pid}/stat") as stat:
            return "suspended" if stat.read().rsplit(")", 1)[1].split()[0] == "T" else "running"

    def ready(self):
        """Whether it says itself that it is ready, and why not."""
        try:
            with urllib.request.urlopen(f"http://{self.admin}/readyz?verbose", timeout=2) as answer:
                return True, answer.read().decode().strip()
        except urllib.error.HTTPError as error:
            return False, error.read().decode(errors="replace").strip()
        except OSError as error:
            return False, str(error)

    def start(self):
        if self.pid() is not None:
            return False
        for folder in (self.pid_file.parent, self.log_file.parent):
            folder.mkdir(parents=True, exist_ok=True)
        env = {**os.environ, MARK: str(self.layout.run)}
        with open(self.log_file, "ab") as log:
            process = subprocess.Popen(self.command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       start_new_session=True, cwd=self.layout.run)
        self.pid_file.write_text(f"{process.pid}\n")
        self.process = process
        return True

    def wait_ready(self, timeout_s=180):
        def look():
            if self.pid() is None:
                raise RuntimeError(f"{self.name} ended right after its start. Its last words:\n{self.tail()}")
            return self.ready()[0]

        try:
            wait_until(look, timeout_s, f"{self.name} ready")
        except TimeoutError as error:
            raise RuntimeError(f"{error}: {self.ready()[1]}\n{self.tail()}") from None

    def tail(self, lines=12):
        try:
            return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return "(no log)"

    def signal(self, sig):
        pid = self.pid()
        if pid is None:
            raise RuntimeError(f"{self.name} does not run")
        os.kill(pid, sig)
        if sig == signal.SIGKILL:
            self.reap()
            wait_until(lambda: not is_alive(pid), 10, f"{self.name} killed")

    def reap(self):
        """Collects the exit status when this very process started it."""
        process = getattr(self, "process", None)
        if process is not None:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                pass

    def stop(self, timeout_s=20):
        pid = self.pid()
        if pid is not None:
            os.kill(pid, signal.SIGCONT)
            os.kill(pid, signal.SIGTERM)
            try:
                wait_until(lambda: not is_alive(pid), timeout_s, f"{self.name} stopping")
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                wait_until(lambda: not is_alive(pid), 10, f"{self.name} killed")
            self.reap()
        self.pid_file.unlink(missing_ok=True)


def _machines(layout):
    """Virtual machines whose disks are in this run folder: they outlive the agent that made them, and carry no mark."""
    inside, found = f"{layout.run}/agents-".encode(), []
    for entry in os.listdir("/proc"):
        try:
            words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0") if entry.isdigit() else [b""]
        except OSError:
            continue
        if b"qemu" in words[0] and any(inside in word for word in words):
            found.append(int(entry))
    return found


def end_leftovers(layout):
    """Ends every process this run folder ever started that is still there, whatever became of its pid file."""
    left = marked_pids(MARK, layout.run) + _machines(layout)
    for sig in (signal.SIGTERM, signal.SIGKILL):
        for pid in left:
            try:
                os.kill(pid, signal.SIGCONT)
                os.kill(pid, sig)
            except ProcessLookupError:
                pass
        try:
            wait_until(lambda: not any(is_alive(pid) for pid in left), 10, "leftovers")
            return
        except TimeoutError:
            continue
