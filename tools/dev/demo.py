"""./dev demo: Droplets through the public API, before your eyes."""
import json
import subprocess
import sys
import time

from tests.support.api import Api
from tools.dev.layout import ROOT


def images(layout, say):
    """The images whose files this machine has: with libvirt a small guest, built from Debian packages."""
    if layout.options["driver"] != "libvirt":
        return []
    say("building the guest image")
    return [guest_image(layout)]


def guest_image(layout):
    """Builds the small bootable guest and returns the seed's word for it: SLUG=URL,SHA256."""
    ran = subprocess.run([str(ROOT / "tests/guest/build"), str(layout.build / "guest")], capture_output=True, text=True)
    if ran.returncode:
        raise RuntimeError(f"the guest image could not be built: {ran.stderr.strip()}")
    image = json.loads(ran.stdout)
    return f"harpoon-tiny=file://{image['path']},{image['sha256']}"


def print_addresses(layout):
    print(f"""
  API      {layout.url}/v2
  token    {layout.token}
  console  {layout.url}/

  eval "$(./dev env)"; ./dev status; ./dev down""")
    return 0


def run(cluster, count):
    """Creates `count` Droplets, shows them become active and the timeline of one."""
    layout = cluster.layout
    api = Api(layout.url, layout.token)
    image = "harpoon-tiny" if layout.options["driver"] == "libvirt" else "debian-12-x64"
    size = "s-1vcpu-512mb-10gb" if layout.options["driver"] == "libvirt" else "s-1vcpu-1gb"
    names = [f"demo-{time.strftime('%H%M%S')}-{i}" for i in range(1, min(count, 10) + 1)]
    print(f"\nPOST {layout.url}/v2/droplets  {len(names)} Droplets in {layout.regions[0]}")
    begun = time.monotonic()
    answer = api.call("POST", "/v2/droplets",
                      {"names": names, "region": layout.regions[0], "size": size, "image": image})
    if answer.status != 202:
        raise RuntimeError(f"the API refused: {answer}")
    droplets = answer.json["droplets"]
    print(f"202 after {1000 * (time.monotonic() - begun):.0f} ms: accepted, and durable")
    _watch(api, {d["id"]: d["name"] for d in droplets}, begun)
    first = droplets[0]["id"]
    event = answer.json["links"]["actions"][0]["id"]
    print(f"\nThe timeline of Droplet {first} (harpoonctl events show {event}):\n")
    sys.stdout.write(cluster.ctl("events", "show", str(event)))
    print(f"""
Try next:
  curl -s -H "Authorization: Bearer {layout.token}" {layout.url}/v2/droplets/{first}
  ./dev ctl droplet explain {first}
  ./dev ctl hypervisors list --region {layout.regions[0]}
  ./dev kill harpoon-worker-1; ./dev status; ./dev start harpoon-worker-1
  ./dev down                       stops everything""")
    return 0


def _watch(api, waiting, begun):
    """Prints each Droplet as it becomes active."""
    waiting = dict(waiting)
    while waiting:
        for droplet_id, name in list(waiting.items()):
            droplet = api.droplet(droplet_id)
            if droplet is None or droplet["status"] == "archive":
                raise RuntimeError(f"Droplet {droplet_id} failed: ./dev ctl droplet explain {droplet_id}")
            if droplet["status"] == "active":
                address = next((n["ip_address"] for n in droplet["networks"]["v4"] if n["type"] == "public"), "-")
                print(f"  {name:20} active  {address:15} after {1000 * (time.monotonic() - begun):.0f} ms")
                del waiting[droplet_id]
        if waiting:
            time.sleep(0.02)
