"""A hypervisor cut off at the worst moments: never two VMs, and a DELETE ends with none."""
import unittest

from tests.support.proxy import Proxy
from tests.support.servers import wait_until
from tests.support.system import SystemTest

DISPATCHED, RUNNING = 2, 3


class CutOff(SystemTest):
    # The hypervisors that every system starts with are too small for the Droplet of the story.
    options = {"hypervisors": 1, "sim_shape": "1,1024,30"}

    def deliver_again(self, droplet):
        """Makes the event's row due, so that its message is published again, and waits until it has been taken."""
        self.system.sql(f"UPDATE events SET check_at=1 WHERE droplet_id={droplet} AND type=1")
        wait_until(lambda: int(self.system.sql(f"SELECT check_at FROM events WHERE droplet_id={droplet} AND type=1")[0][0]) > 1,
                   30, "the sweeper published it again")
        wait_until(lambda: all(q.get("messages_unacknowledged", 0) + q.get("messages", 0) == 0
                               for q in self.system.cluster.rabbitmq.api("queues") if q["name"] != "events.dead"),
                   60, "the message was taken and acknowledged")

    def story(self, moment, latency_ms, delete):
        proxies = [Proxy(self.system.layout.router_rpc("nyc3", i)) for i in (1, 2)]
        for proxy in proxies:
            self.addCleanup(proxy.close)
        victim, _ = self.add_hypervisor(latency_ms, [p.address for p in proxies])
        if moment == "accepted":
            for proxy in proxies:
                proxy.hold_after_chunk(250)  # the job passes, the word to begin does not
        answer = self.api.create("victim", size="s-2vcpu-4gb")
        self.assertEqual(answer.status, 202)
        droplet = answer.json["droplet"]["id"]
        state = DISPATCHED if moment == "accepted" else RUNNING
        wait_until(lambda: self.system.create_event(droplet) == (state, 1, victim), 60, f"the create is in state {state} on {victim}")
        for proxy in proxies:
            proxy.cut()
        if moment == "accepted":
            self.assertEqual(self.system.ledger.operations(droplet), [], "it began before the row allowed it")
        self.add_hypervisor(50)  # there is room elsewhere: nobody may use it
        self.deliver_again(droplet)
        self.assertEqual(self.system.create_event(droplet)[1:], (1, victim), "unreachable is never a reason for another attempt")
        if delete:
            self.assertEqual(self.api.call("DELETE", f"/v2/droplets/{droplet}").status, 204)
            self.assertIsNone(self.api.droplet(droplet))
            self.deliver_again(droplet)
        self.assert_at_most_one()
        for proxy in proxies:
            proxy.restore()
        if delete:
            self.system.wait_quiet(120)
            self.assert_promises()
            return
        self.api.wait_status([droplet], timeout_s=120)
        self.assert_promises(live=[droplet])
        self.api.call("DELETE", f"/v2/droplets/{droplet}")
        self.system.wait_quiet(120)
        self.assert_promises()

    def assert_at_most_one(self):
        wrong = [text for text in self.system.ledger.check() if text.startswith("line")]
        self.assertEqual(wrong, [])

    def test_between_accept_and_start(self):
        self.story("accepted", 50, delete=False)

    def test_between_accept_and_start_then_deleted(self):
        self.story("accepted", 50, delete=True)

    def test_while_running(self):
        self.story("running", 4000, delete=False)

    def test_while_running_then_deleted(self):
        self.story("running", 4000, delete=True)


if __name__ == "__main__":
    unittest.main()
