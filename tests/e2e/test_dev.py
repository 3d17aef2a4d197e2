"""./dev itself: a second `up` changes nothing, two checkouts are up at the same time, and `down` finds what lost its pid file."""
import os
import shutil
import subprocess
import unittest
from pathlib import Path

from tests.support.servers import is_alive, marked_pids
from tests.support.system import PORT_BASE, System, SystemTest
from tools.dev.layout import ROOT, Layout
from tools.dev.processes import MARK


class Dev(SystemTest):
    options = {"hypervisors": 3}

    def dev(self, folder, *words):
        env = {**os.environ, "HARPOON_RUN_FOLDER": str(folder)}
        return subprocess.run([str(ROOT / "dev"), *words], env=env, capture_output=True, text=True, timeout=300)

    def pids(self):
        return {row["name"]: row["pid"] for row in self.system.cluster.status()["processes"]}

    def test_up_again_changes_nothing(self):
        before = self.pids()
        ran = self.dev(self.system.folder, "up")
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertEqual(self.pids(), before)
        self.assertIn(self.system.layout.url, ran.stdout)

    def test_other_options_are_refused_while_it_is_up(self):
        ran = self.dev(self.system.folder, "up", "--hypervisors", "7")
        self.assertEqual(ran.returncode, 1)
        self.assertIn("down first", ran.stderr)

    def test_env_and_status_tell_what_a_script_needs(self):
        ran = self.dev(self.system.folder, "env")
        for name in ("HARPOON_URL", "HARPOON_TOKEN", "HARPOON_CONSOLE", "HARPOON_MYSQL_SOCKET", "HARPOON_MYSQL_ROOT",
                     "HARPOON_AMQP_ADMIN", "HARPOON_RUN"):
            self.assertIn(f"{name}='", ran.stdout)
        script = f'eval "$({ROOT}/dev env)"; curl -sf -H "Authorization: Bearer $HARPOON_TOKEN" $HARPOON_URL/v2/account'
        env = {**os.environ, "HARPOON_RUN_FOLDER": str(self.system.folder)}
        ran = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, timeout=60)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertIn('"account"', ran.stdout)

    def test_two_checkouts_are_up_at_the_same_time_and_down_ends_one(self):
        other = self.system.folder.parent / "other"
        shutil.rmtree(other, ignore_errors=True)
        self.addCleanup(self.dev, other, "down")
        words = ("up", "--regions", "ams3", "--hypervisors", "2", "--port-base", str(PORT_BASE + 200))
        ran = self.dev(other, *words)
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)
        self.assertTrue(all(row["ready"] for row in self.system.cluster.status()["processes"]))
        lost = Layout(run=other).run / "pids" / "harpoon-worker-1.pid"
        pid = int(lost.read_text())
        lost.unlink()  # as if ./dev had crashed before it wrote it down
        self.assertEqual(self.dev(other, "down").returncode, 0)
        self.assertFalse(is_alive(pid))
        self.assertEqual(marked_pids(MARK, Path(other).resolve()), [])
        self.assertTrue(all(row["ready"] for row in self.system.cluster.status()["processes"]))

    def test_kill_and_start_by_name(self):
        before = self.pids()["scheduler-2"]
        self.assertEqual(self.dev(self.system.folder, "kill", "scheduler-2").returncode, 0)
        self.assertFalse(is_alive(before))
        self.assertEqual(self.dev(self.system.folder, "start", "scheduler-2").returncode, 0)
        self.system.cluster.daemons["scheduler-2"].wait_ready()
        self.assertNotEqual(self.pids()["scheduler-2"], before)
        self.assertEqual(self.dev(self.system.folder, "kill", "nobody").returncode, 1)


if __name__ == "__main__":
    unittest.main()
