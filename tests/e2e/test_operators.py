"""What an operator can do at 3 a.m.: say why, fence, take back, cancel, replay; from harpoonctl alone."""
import json
import os
import signal
import subprocess
import unittest

from tests.support.servers import wait_until
from tests.support.system import SystemTest

DISPATCHED, RUNNING = 2, 3


class Operators(SystemTest):
    # The hypervisors that every system starts with are too small for the Droplets of these stories.
    options = {"hypervisors": 1, "sim_shape": "1,1024,30", "create_deadline_s": 20}

    def ctl(self, *words):
        return json.loads(self.system.cluster.ctl(*words, "--output", "json"))

    def ctl_exit(self, *words):
        env = {"HARPOON_CTL_CONFIG": str(self.system.layout.run / "harpoonctl.conf"), "PATH": os.environ["PATH"]}
        return subprocess.run([str(self.system.layout.binary("harpoonctl")), *words], env=env, capture_output=True).returncode

    def create(self, name, size="s-2vcpu-4gb"):
        answer = self.api.create(name, size=size)
        self.assertEqual(answer.status, 202, answer)
        self.addCleanup(self.api.call, "DELETE", f"/v2/droplets/{answer.json['droplet']['id']}")
        return answer.json["droplet"]["id"], answer.json["links"]["actions"][0]["id"]

    def test_a_fenced_hypervisors_create_goes_on_elsewhere_and_the_hypervisor_comes_back_empty(self):
        victim, agent = self.add_hypervisor(6000)
        droplet, _ = self.create("fenced")
        wait_until(lambda: self.system.create_event(droplet) == (RUNNING, 1, victim), 30, "the create runs on the victim")
        agent.signal(signal.SIGKILL)
        self.assertEqual(self.system.ledger.operations(droplet), [], "the machine was made before the host died")
        self.add_hypervisor(50)
        self.assertEqual(self.ctl_exit("hypervisors", "fence", str(victim), "--region", "nyc3", "--reason", "burnt"), 2,
                         "a fence without a vouch")
        self.system.cluster.ctl("hypervisors", "fence", str(victim), "--region", "nyc3", "--reason", "burnt",
                                "--yes-powered-off")
        self.api.wait_status([droplet])
        self.assertEqual(self.system.create_event(droplet)[1], 2)
        self.assertEqual(self.ctl_exit("hypervisors", "approve", str(victim), "--region", "nyc3"), 4, "fenced is not new")
        agent.start()
        wait_until(lambda: self.ctl_exit("hypervisors", "unfence", str(victim), "--region", "nyc3", "--reason", "new board") == 0,
                   60, "the agent has closed its old jobs")
        self.assert_promises(live=[droplet])
        self.api.call("DELETE", f"/v2/droplets/{droplet}")
        self.system.wait_quiet()
        self.assert_promises()

    def test_a_create_without_room_is_explained_fails_in_time_and_is_replayed_once(self):
        droplet, event = self.create("roomless")
        explained = wait_until(lambda: self.explained(droplet, "capacity"), 20, "it is said to wait for capacity")
        self.assertIn("room", explained["sentence"])
        wait_until(lambda: self.api.droplet(droplet)["status"] == "archive", 60, "the deadline ends it")
        action = self.api.call("GET", f"/v2/actions/{event}").json["action"]
        self.assertEqual(action["status"], "errored")
        self.assertIn(event, [e["id"] for e in self.ctl("dead", "list")["events"]])
        self.add_hypervisor(50)
        self.system.cluster.ctl("dead", "replay", str(event), "--reason", "room was made")
        self.api.wait_status([droplet])
        events = self.system.sql(f"SELECT COUNT(*) FROM events WHERE droplet_id={droplet}")
        self.system.cluster.ctl("dead", "replay", str(event), "--reason", "again")
        self.assertEqual(self.system.sql(f"SELECT COUNT(*) FROM events WHERE droplet_id={droplet}"), events, "twice has no second effect")
        self.assert_promises(live=[droplet])
        self.api.call("DELETE", f"/v2/droplets/{droplet}")
        self.system.wait_quiet()
        self.assert_promises()

    def explained(self, droplet, waiting_for):
        told = self.ctl("droplet", "explain", str(droplet))["droplet"]
        return told if told["waiting_for"] == waiting_for else None

    def test_a_pending_create_is_cancelled(self):
        droplet, event = self.create("unwanted", size="s-16vcpu-32gb")  # larger than any hypervisor
        wait_until(lambda: self.explained(droplet, "capacity"), 20, "it waits for capacity")
        self.system.cluster.ctl("events", "cancel", str(event), "--reason", "asked by phone")
        self.assertEqual([e["state"] for e in self.ctl("events", "list", "--state", "cancelled")["events"] if e["id"] == event],
                         ["cancelled"])
        self.assertEqual(self.ctl_exit("events", "show", "999999999"), 3)
        self.api.call("DELETE", f"/v2/droplets/{droplet}")
        self.system.wait_quiet()
        self.assert_promises()

    def test_queues_and_hypervisors_are_shown_for_people_and_for_scripts(self):
        names = [q["name"] for q in self.ctl("queues")["queues"]]
        self.assertIn("events.nyc3.create", names)
        self.assertIn("events.nyc3.create", self.system.cluster.ctl("queues"))
        rows = self.ctl("hypervisors", "list", "--region", "nyc3")["hypervisors"]
        self.assertTrue(all({"id", "status", "capacity", "claimed", "connected"} <= set(row) for row in rows), rows)


if __name__ == "__main__":
    unittest.main()
