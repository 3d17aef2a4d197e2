"""The number this system is known for: hypervisors by the thousand, a handful of database connections."""
import json
import os
import subprocess
import unittest

from tests.support.servers import wait_until
from tests.support.system import SystemTest
from tools.dev.layout import ROOT


class Connections(SystemTest):
    options = {"hypervisors": 1000}

    def test_a_thousand_hypervisors_need_at_most_20_database_connections(self):
        made = self.system.create(100)
        self.api.wait_status(made)
        ran = subprocess.run([str(ROOT / "dev"), "status", "--output", "json"], capture_output=True, text=True, check=True,
                             env={**os.environ, "HARPOON_RUN_FOLDER": str(self.system.folder)})
        status = json.loads(ran.stdout)
        self.assertTrue(all(p["state"] == "running" and p["ready"] for p in status["processes"]), status)
        self.assertGreater(status["database_connections"], 0)
        self.assertLessEqual(status["database_connections"], 20)
        self.assert_promises(live=made)

    def test_stopping_every_daemon_is_clean(self):
        for name, daemon in reversed(self.system.cluster.daemons.items()):
            with self.subTest(name):
                daemon.stop(timeout_s=20)
                self.assertEqual(daemon.process.returncode, 0, daemon.tail())
        for name, daemon in self.system.cluster.daemons.items():
            daemon.start()
        for daemon in self.system.cluster.daemons.values():
            daemon.wait_ready()
        wait_until(lambda: self.system.cluster.status()["database_connections"], 10, "connected again")


if __name__ == "__main__":
    unittest.main()
