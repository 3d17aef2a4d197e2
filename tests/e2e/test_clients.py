"""Real API clients, unmodified: only the address and the token are ours."""
import unittest

from libcloud.compute.providers import get_driver
from libcloud.compute.types import NodeState, Provider

from tests.support.servers import wait_until
from tests.support.system import SystemTest


def libcloud(system):
    """Debian's libcloud, pointed at our address. It drops the host and port given to its constructor without a word, so they
    are set on its connection, and nothing is sent before that connection is known to end on this machine."""
    host, port = system.layout.api_http(1).split(":")
    driver = get_driver(Provider.DIGITAL_OCEAN)(system.layout.token)
    driver.connection.host, driver.connection.port, driver.connection.secure = host, int(port), 0
    driver.connection.connect()
    if driver.connection.connection.host != f"http://{host}:{port}":
        raise RuntimeError(f"libcloud would connect to {driver.connection.connection.host}")
    return driver


class Clients(SystemTest):
    options = {"hypervisors": 5}

    def test_libcloud_lives_through_the_whole_life_of_droplets(self):
        driver = libcloud(self.system)
        sizes = {size.id or size.name: size for size in driver.list_sizes()}
        size = next(s for s in sizes.values() if "s-1vcpu-1gb" in (s.id, s.name, s.extra.get("slug")))
        image = next(i for i in driver.list_images() if i.extra.get("slug") == "debian-12-x64")
        location = next(l for l in driver.list_locations() if l.id == "nyc3")
        key = driver.create_key_pair("laptop", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGx0dHRyZXF3ZXJ0eXVpb3Bhc2RmZ2hqa2x6 me@laptop")
        self.assertEqual([k.name for k in driver.list_key_pairs()], ["laptop"])

        one = driver.create_node(name="alone", size=size, image=image, location=location,
                                 ex_create_attr={"ssh_keys": [key.fingerprint], "tags": ["web"]})
        several = [driver.create_node(name=f"many-{i}", size=size, image=image, location=location) for i in range(3)]
        ids = {one.id, *(n.id for n in several)}

        def all_running():
            nodes = {n.id: n for n in driver.list_nodes()}
            return nodes if all(nodes[i].state == NodeState.RUNNING for i in ids) else None

        nodes = wait_until(all_running, 60, "libcloud sees every node running")
        self.assertEqual(set(nodes), ids)
        self.assertTrue(all(nodes[i].public_ips and nodes[i].private_ips for i in ids))
        self.assertEqual(len({nodes[i].public_ips[0] for i in ids}), len(ids), "public addresses are unique")
        running, addresses = driver.wait_until_running([nodes[one.id]], wait_period=0.2, timeout=30)[0]
        self.assertEqual((running.id, addresses), (one.id, nodes[one.id].public_ips))

        for node in nodes.values():
            self.assertTrue(driver.destroy_node(node))
        self.assertEqual(driver.list_nodes(), [])
        driver.delete_key_pair(key)
        self.assertEqual(driver.list_key_pairs(), [])
        self.system.wait_quiet()
        for droplet in ids:
            self.assertEqual(self.system.ledger.operations(int(droplet)), ["create", "destroy"])
        self.assert_promises()

    def test_several_at_once_by_names_and_pages_that_follow(self):
        made = self.system.create(45, prefix="page")
        self.api.wait_status(made)
        first = self.api.call("GET", "/v2/droplets?per_page=20").json
        self.assertEqual([d["id"] for d in first["droplets"]], sorted(made, reverse=True)[:20])
        self.assertEqual(first["meta"]["total"], 45)
        self.assertEqual(set(first["links"]["pages"]), {"next", "last"})
        self.assertTrue(first["links"]["pages"]["next"].startswith(self.system.layout.url))
        self.assertEqual({d["id"] for d in self.api.all_droplets()}, set(made))
        for droplet in made:
            self.assertEqual(self.api.call("DELETE", f"/v2/droplets/{droplet}").status, 204)
            self.assertIsNone(self.api.droplet(droplet))
        self.system.wait_quiet()
        self.assert_promises()

    def test_a_delete_of_a_droplet_not_yet_active_ends_with_none(self):
        made = self.system.create(20, prefix="short")
        for droplet in made:
            self.assertEqual(self.api.call("DELETE", f"/v2/droplets/{droplet}").status, 204)
        self.system.wait_quiet()
        self.assert_promises()
        claims = wait_until(lambda: self.system.sql("SELECT COUNT(*) FROM claims", "scheduler") == [["0"]], 150,
                            "claims of what is gone are released")
        self.assertTrue(claims)

    def test_the_timeline_of_a_droplet_is_told_by_harpoonctl(self):
        droplet = self.system.create(1, prefix="told")[0]
        self.api.wait_status([droplet])
        told = self.system.cluster.ctl("droplet", "explain", str(droplet))
        for word in ("accepted", "dispatched", "succeeded"):
            self.assertIn(word, told)
        self.api.call("DELETE", f"/v2/droplets/{droplet}")
        self.system.wait_quiet()


if __name__ == "__main__":
    unittest.main()
