"""A Droplet asked for through the public API boots under QEMU, and its serial console says which one it is."""
import hashlib
import re
import unittest
import uuid as uuids
from pathlib import Path

from tests.support.servers import wait_until
from tests.support.system import SystemTest
from tools.dev.demo import guest_image
from tools.dev.layout import Layout

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGx0dHRyZXF3ZXJ0eXVpb3Bhc2RmZ2hqa2x6 operator@laptop"
USER_DATA = "#cloud-config\nruncmd: [echo hello]\n"


class RealVm(SystemTest):
    options = {"driver": "libvirt", "hypervisors": 1}

    @classmethod
    def setUpClass(cls):
        cls.images = (guest_image(Layout()),)
        super().setUpClass()

    def console(self):
        """The text of every serial console log under the agent's folder."""
        folder = self.system.folder / "agents-nyc3"
        return "\n".join(path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file() and "console" in path.name)

    def left_behind(self, droplet, uuid):
        """Files and processes that still speak of the droplet."""
        names = [str(p) for p in Path(self.system.folder).rglob("*") if uuid in p.name or f"droplet-{droplet}" in p.name
                 if p.is_file() and "/log/" not in str(p) and "/logs/" not in str(p)]
        processes = [p.parent.name for p in Path("/proc").glob("[0-9]*/cmdline") if self.mentions(p, uuid)]
        return names + processes

    @staticmethod
    def mentions(path, word):
        try:
            return word.encode() in path.read_bytes()
        except OSError:
            return False

    def test_a_droplet_boots_proves_who_it_is_and_goes_without_a_trace(self):
        key = self.api.call("POST", "/v2/account/keys", {"name": "laptop", "public_key": KEY}).json["ssh_key"]
        answer = self.api.create("real-1", image="harpoon-tiny", size="s-1vcpu-512mb-10gb", ssh_keys=[key["id"]],
                                 user_data=USER_DATA)
        self.assertEqual(answer.status, 202, answer)
        droplet = answer.json["droplet"]["id"]
        self.api.wait_status([droplet], timeout_s=120)
        line = wait_until(lambda: re.search(r"^GUEST READY (.*)\n", self.console(), re.M), 180, "the guest's identity line")
        told = dict(word.split("=", 1) for word in line.group(1).split())
        shown = self.api.droplet(droplet)
        public = [n["ip_address"] for n in shown["networks"]["v4"] if n["type"] == "public"]
        self.assertEqual(told["hostname"], "real-1")
        self.assertEqual(told["ssh_keys"], "1")
        self.assertEqual(told["ssh_key_sha256"], hashlib.sha256(KEY.encode()).hexdigest())
        self.assertEqual(told["user_data_sha256"], hashlib.sha256(USER_DATA.encode()).hexdigest())
        self.assertEqual(told["boots"], "1")
        self.assertEqual(int(told["vcpus"]), shown["vcpus"])
        self.assertEqual(int(told["disk_bytes"]), shown["disk"] * 2**30)
        self.assertIn(public[0], told["addresses"])
        uuid = told["uuid"].lower()
        expected = self.system.sql("SELECT id FROM installation")[0][0]
        self.assertEqual(uuid, str(uuids.uuid5(uuids.UUID(expected), str(droplet))))

        self.assertEqual(self.api.call("DELETE", f"/v2/droplets/{droplet}").status, 204)
        self.system.wait_quiet(120)
        self.assertEqual(self.left_behind(droplet, uuid), [])

    def test_down_leaves_no_machine_running(self):
        droplet = self.api.create("real-2", image="harpoon-tiny", size="s-1vcpu-512mb-10gb").json["droplet"]["id"]
        self.api.wait_status([droplet], timeout_s=120)
        folder = str(self.system.folder)
        ours = [p for p in Path("/proc").glob("[0-9]*/cmdline") if self.mentions(p, folder)]
        self.assertTrue(any(b"qemu" in p.read_bytes() for p in ours), "no machine runs: the story would prove nothing")
        self.system.cluster.down()
        left = [p.parent.name for p in Path("/proc").glob("[0-9]*/cmdline") if self.mentions(p, folder)]
        self.assertEqual(left, [])


if __name__ == "__main__":
    unittest.main()
