#!/usr/bin/env python3
"""Runs driver_vm: makes the guest, finds a user that may run QEMU here, and leaves nothing behind.

    run_driver_vm.py DRIVER_VM GUEST_CACHE

Root runs guests as root when the user libvirt-qemu exists, which libvirt then wants, and as an
ordinary user in any case; an ordinary user runs them as itself.
"""
import json
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
NEEDED = {"qemu-system-x86_64": "qemu-system-x86", "qemu-img": "qemu-utils", "xorriso": "xorriso",
          "libvirtd": "libvirt-daemon", "virsh": "libvirt-clients"}
ORDINARY = "nobody"
KILL_AFTER_S = (0.05, 0.4, 1.0)  # in the files, in libvirt's define, in QEMU's start
DAEMON_KILL_AFTER_S = 0.6


def fail(text):
    print("driver_vm: " + text, file=sys.stderr, flush=True)
    sys.exit(1)


def need_programs():
    missing = sorted(package for program, package in NEEDED.items() if not shutil.which(program))
    if missing:
        fail("missing Debian packages; as root: apt-get install --no-install-recommends " + " ".join(missing))


def guest(cache):
    made = subprocess.run([str(HERE.parent / "guest/build"), cache], stdout=subprocess.PIPE, check=False)
    if made.returncode != 0:
        fail("the guest was not made")
    return json.loads(made.stdout)


def users():
    """None: as whoever runs this."""
    if os.geteuid() != 0:
        return [None]
    names = [pwd.getpwnam(ORDINARY).pw_name]
    try:
        pwd.getpwnam("libvirt-qemu")
        names.insert(0, None)
    except KeyError:
        print("no user libvirt-qemu: guests run as " + ORDINARY + " only", flush=True)
    return names


class Place:
    """A folder with a short name, for QEMU's sockets, that `user` may use; the program and the image in it."""

    def __init__(self, user, program, image):
        self.user = user
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="vm-", dir="/tmp"))
        self.program = shutil.copy(program, self.folder / "driver_vm")
        self.image = shutil.copy(image["path"], self.folder / "image.qcow2")
        self.sha256 = image["sha256"]
        for name in ("state", "root"):
            (self.folder / name).mkdir(mode=0o700)
        if user is not None:
            entry = pwd.getpwnam(user)
            for path in (self.folder, self.folder / "state", self.folder / "root"):
                os.chown(path, entry.pw_uid, entry.pw_gid)

    def as_user(self, *command):
        if self.user is None:
            return list(command)
        entry = pwd.getpwnam(self.user)
        return ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups", *command]

    def command(self, word):
        return self.as_user(str(self.program), word, str(self.image), self.sha256, str(self.folder / "state"),
                            str(self.folder / "root"))

    def environment(self):
        names = {name: str(self.folder) for name in ("HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME",
                                                     "XDG_DATA_HOME", "TMPDIR")}
        return {**os.environ, **names, "LIBVIRT_AUTOSTART": "0"}

    def start(self, word, **more):
        return subprocess.Popen(self.command(word), env=self.environment(), **more)

    def run(self, word):
        if self.start(word).wait() != 0:
            self.show_logs()
            fail(f"{word} failed as {self.user or 'this user'}")

    def create_and_kill(self, after_s):
        """Kills a create when it has been under way for a while: at whatever step that may be."""
        process = self.start("create", stdout=subprocess.PIPE)
        for line in process.stdout:
            if line.strip() == b"begun":
                break
        try:
            process.wait(after_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.stdout.close()
        process.wait()

    def start_daemon(self):
        """A libvirtd of the user's own (qemu:///session), ready."""
        daemon = subprocess.Popen(self.as_user("libvirtd", "-p", str(self.folder / "libvirtd.pid")),
                                  env=self.environment(), stderr=subprocess.DEVNULL)
        until = time.monotonic() + 60
        while subprocess.run(self.as_user("virsh", "-q", "-c", "qemu:///session", "list"), env=self.environment(),
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode != 0:
            if daemon.poll() is not None or time.monotonic() > until:
                fail("libvirtd does not start")
            time.sleep(0.1)
        return daemon

    def run_with_daemon(self):
        """Does what the tests ask for on their standard output: kill, kill soon, start."""
        daemon = self.start_daemon()
        tests = self.start("daemon", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        timer = None
        try:
            for line in tests.stdout:
                word = line.decode(errors="replace").strip()
                if word == "kill":
                    daemon.kill()
                    daemon.wait()
                elif word == "kill soon":
                    timer = threading.Timer(DAEMON_KILL_AFTER_S, daemon.kill)
                    timer.start()
                elif word == "start":
                    if timer is not None:
                        timer.join()
                    daemon.wait()
                    daemon = self.start_daemon()
                else:
                    print(word, flush=True)
                    continue
                tests.stdin.write(b"done\n")
                tests.stdin.flush()
        finally:
            if tests.wait() != 0:
                self.show_logs()
            daemon.terminate()
            daemon.wait()
        if tests.returncode != 0:
            fail(f"daemon failed as {self.user or 'this user'}")

    def show_logs(self):
        for path in sorted(self.folder.rglob("*.log")):
            print(f"--- {path}\n{path.read_text(errors='replace')[-4000:]}", file=sys.stderr)

    def remove(self):
        """Ends guests that a failed test has left: those whose files are in this folder."""
        for command_line in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = command_line.read_bytes()
                if b"qemu-system" in words and str(self.folder).encode() + b"/" in words:
                    os.kill(int(command_line.parent.name), signal.SIGKILL)
            except OSError:
                pass
        shutil.rmtree(self.folder, ignore_errors=True)


def main():
    if len(sys.argv) != 3:
        fail("run_driver_vm.py DRIVER_VM GUEST_CACHE")
    need_programs()
    image = guest(sys.argv[2])
    for user in users():
        place = Place(user, sys.argv[1], image)
        try:
            place.run("story")
            for after_s in KILL_AFTER_S:
                place.create_and_kill(after_s)
                place.run("mend")
            if user is not None or os.geteuid() != 0:  # root's daemon would be the machine's
                place.run_with_daemon()
        finally:
            place.remove()


main()
