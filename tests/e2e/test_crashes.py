"""Any process killed, the broker wiped: what was accepted ends active, and no Droplet ever has two VMs."""
import signal
import unittest

from tests.support.system import SystemTest

CREATES = 200


class Crashes(SystemTest):
    options = {"hypervisors": 20, "latency_ms": 300}

    def under_way(self):
        """Creates Droplets and returns their ids while most of them are unfinished."""
        made = self.system.create(CREATES, prefix="busy")
        self.assertGreater(self.system.unfinished(), 0, "nothing is under way: the fault would prove nothing")
        return made

    def survives(self, fault):
        """`fault` strikes while 200 creates are under way; all end active, each with one VM; then all go."""
        made = self.under_way()
        fault()
        self.api.wait_status(made, timeout_s=180)
        self.assert_promises(live=made)
        for droplet in made:
            self.assertEqual(self.api.patiently("DELETE", f"/v2/droplets/{droplet}").status, 204)
        self.system.wait_quiet(180)
        self.assert_promises()

    def killed(self, name):
        def fault():
            self.system.cluster.kill(name, signal.SIGKILL)
            self.system.cluster.start(name)
        self.survives(fault)

    def test_api_killed(self):
        self.killed("harpoon-api-1")

    def test_worker_killed(self):
        self.killed("harpoon-worker-1")

    def test_leading_scheduler_killed(self):
        self.killed(f"scheduler-{self.leader()}")

    def leader(self):
        """The number of the replica that leads nyc3, from its lease."""
        holder = self.system.sql("SELECT holder FROM leases WHERE region='nyc3'", "scheduler")[0][0]
        at = self.system.layout
        return next(i for i in range(1, at.schedulers + 1) if at.scheduler_rpc(i) == holder)

    def test_leading_scheduler_killed_and_left_dead_is_followed(self):
        leader = self.leader()
        made = self.under_way()
        self.system.cluster.kill(f"scheduler-{leader}", signal.SIGKILL)
        self.api.wait_status(made, timeout_s=180)
        self.assertNotEqual(self.leader(), leader)
        self.assert_promises(live=made)
        self.system.cluster.start(f"scheduler-{leader}")
        for droplet in made:
            self.api.patiently("DELETE", f"/v2/droplets/{droplet}")
        self.system.wait_quiet(180)

    def test_first_router_killed(self):
        self.killed("eventrouter-nyc3-1")

    def test_second_router_killed(self):
        self.killed("eventrouter-nyc3-2")

    def test_agents_killed(self):
        self.killed("agents-nyc3")

    def test_database_killed(self):
        self.killed("mariadb")

    def test_broker_killed(self):
        self.killed("rabbitmq")

    def test_broker_wiped(self):
        def fault():
            self.system.cluster.rabbitmq.wipe_data()
            self.system.cluster.start("rabbitmq")
        self.survives(fault)


if __name__ == "__main__":
    unittest.main()
