"""Tags: made, worn, shown, taken off; and what else a Droplet's owner can read of it."""
import unittest

from tests.support.system import SystemTest


def resources(*droplets, kind="droplet"):
    return {"resources": [{"resource_id": str(droplet), "resource_type": kind} for droplet in droplets]}


class Tags(SystemTest):
    options = {"hypervisors": 3}

    def setUp(self):
        for droplet in self.api.all_droplets():
            self.api.call("DELETE", f"/v2/droplets/{droplet['id']}")
        self.system.wait_quiet()
        for tag in self.tags():
            self.assertEqual(self.api.call("DELETE", f"/v2/tags/{tag}").status, 204)

    def tags(self):
        """Droplets counted by name of every tag."""
        answer = self.api.call("GET", "/v2/tags?per_page=200")
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(answer.json["meta"]["total"], len(answer.json["tags"]))
        for tag in answer.json["tags"]:
            self.assertEqual(tag["resources"]["count"], tag["resources"]["droplets"]["count"])
        return {tag["name"]: tag["resources"]["count"] for tag in answer.json["tags"]}

    def worn(self, droplet):
        return self.api.droplet(droplet)["tags"]

    def refused(self, answer, status, name):
        self.assertEqual((answer.status, answer.json["id"]), (status, name), answer)
        self.assertTrue(answer.json["message"])

    def test_a_tag_is_made_shown_worn_and_deleted(self):
        made = self.api.call("POST", "/v2/tags", {"name": "Front:end"})
        none = {"count": 0}
        self.assertEqual(made.status, 201)
        self.assertEqual(made.json, {"tag": {"name": "Front:end", "resources": {
            "count": 0, "droplets": none, "images": none, "volumes": none, "volume_snapshots": none, "databases": none}}})
        again = self.api.call("POST", "/v2/tags", {"name": "FRONT:END"})
        self.assertEqual((again.status, again.json), (201, made.json), "the first spelling stays")

        one, two, three = self.system.create(3, prefix="worn")
        put = self.api.call("POST", "/v2/tags/front%3Aend/resources/", resources(one, two, one))
        self.assertEqual((put.status, put.body), (204, b""))
        self.assertEqual([self.worn(d) for d in (one, two, three)], [["Front:end"], ["Front:end"], []])
        self.assertEqual(self.tags(), {"Front:end": 2})
        self.assertEqual({d["id"] for d in self.api.all_droplets("&tag_name=front:END")}, {one, two})
        self.assertEqual(self.api.call("POST", "/v2/tags/Front:end/resources", resources(two, three)).status, 204)
        self.assertEqual(self.tags(), {"Front:end": 3})

        self.assertEqual(self.api.call("DELETE", "/v2/tags/Front:end/resources", resources(one)).status, 204)
        self.assertEqual(self.api.call("DELETE", "/v2/tags/Front:end/resources", resources(one)).status, 204, "it wears none")
        self.assertEqual((self.worn(one), self.tags()), ([], {"Front:end": 2}))
        self.assertEqual(self.api.call("DELETE", f"/v2/droplets/{two}").status, 204)
        self.assertEqual(self.tags(), {"Front:end": 1}, "the deleted wear nothing")

        self.assertEqual(self.api.call("DELETE", "/v2/tags/front:end", b"{}").status, 204)
        self.refused(self.api.call("GET", "/v2/tags/Front:end"), 404, "not_found")
        self.refused(self.api.call("DELETE", "/v2/tags/Front:end"), 404, "not_found")
        self.assertEqual((self.worn(three), self.tags()), ([], {}))
        self.assertEqual(self.api.all_droplets("&tag_name=Front:end"), [])

    def test_tags_of_creates_are_tags_and_outlive_their_droplets(self):
        self.api.call("POST", "/v2/tags", {"name": "Web"})
        made = self.system.create(12, prefix="tagged", tags=["web", "db"])
        self.assertEqual(self.tags(), {"db": 12, "Web": 12})
        self.assertEqual(self.worn(made[0]), ["db", "Web"], "as the tag was spelled first")
        self.assertEqual(self.api.call("DELETE", "/v2/droplets?tag_name=web").status, 204)
        self.assertEqual(self.tags(), {"db": 0, "Web": 0})
        self.assertEqual(self.api.call("GET", "/v2/tags/WEB").json["tag"]["name"], "Web")

    def test_what_is_not_there_changes_nothing(self):
        one = self.system.create(1, prefix="alone")[0]
        self.api.call("POST", "/v2/tags", {"name": "known"})
        path, unprocessable = "/v2/tags/known/resources", (422, "unprocessable_entity")
        for method in ("POST", "DELETE"):
            self.refused(self.api.call(method, "/v2/tags/unknown/resources", resources(one)), 404, "not_found")
            self.refused(self.api.call(method, "/v2/tags/%20/resources", resources(one)), 404, "not_found")
            self.refused(self.api.call(method, path, resources(one, 999999999)), 404, "not_found")
            self.refused(self.api.call(method, path, resources("x")), 404, "not_found")
            self.refused(self.api.call(method, path, resources(one, kind="volume")), 404, "not_found")
            self.refused(self.api.call(method, path, resources(one, kind="house")), *unprocessable)
            self.refused(self.api.call(method, path, {}), *unprocessable)
            self.refused(self.api.call(method, path, {"resources": []}), *unprocessable)
            self.refused(self.api.call(method, path, {"resources": [one]}), *unprocessable)
            self.refused(self.api.call(method, path), 400, "bad_request")
        for name in ("", "a b", "t" * 256, "é", None, 7):
            self.refused(self.api.call("POST", "/v2/tags", {"name": name}), *unprocessable)
        self.refused(self.api.call("POST", "/v2/tags", {}), *unprocessable)
        self.assertEqual((self.worn(one), self.tags()), ([], {"known": 0}))

    def test_pages_of_tags_follow_each_other(self):
        names = [f"t-{i:02}" for i in range(25)]
        for name in reversed(names):
            self.assertEqual(self.api.call("POST", "/v2/tags", {"name": name}).status, 201)
        found, path = [], "/v2/tags?per_page=10"
        while path:
            page = self.api.call("GET", path).json
            self.assertEqual(page["meta"], {"total": 25})
            found += [tag["name"] for tag in page["tags"]]
            following = page["links"]["pages"].get("next")
            path = following[following.index("/v2/"):] if following else None
        self.assertEqual(found, names)
        self.assertEqual(self.api.call("GET", "/v2/tags?page=9&per_page=10").json["tags"], [])

    def test_a_tag_goes_from_thousands_of_rows(self):
        one = self.system.create(1, prefix="many", tags=["crowd"])[0]
        account = self.system.sql(f"SELECT account_id FROM droplets WHERE id = {one}")[0][0]
        self.system.sql(f"INSERT INTO droplet_tags SELECT {account}, 'crowd', 800000000 + seq FROM seq_1_to_2500")
        self.assertEqual(self.tags(), {"crowd": 2501})
        self.assertEqual(self.api.call("DELETE", "/v2/tags/crowd").status, 204)
        self.assertEqual(self.system.sql("SELECT COUNT(*) FROM droplet_tags"), [["0"]])

    def test_neighbors_share_a_hypervisor(self):
        made = self.system.create(9, prefix="near", tags=["near"])
        self.api.wait_status(made)
        at = {}
        for droplet, hypervisor in self.system.sql("SELECT id, hypervisor_id FROM droplets WHERE deleted_at IS NULL"):
            at.setdefault(hypervisor, set()).add(int(droplet))
        self.assertEqual(set().union(*at.values()), set(made))
        for group in at.values():
            for droplet in group:
                near = self.api.call("GET", f"/v2/droplets/{droplet}/neighbors").json["droplets"]
                self.assertEqual([d["id"] for d in near], sorted(group - {droplet}, reverse=True))
                self.assertTrue(all(d["tags"] == ["near"] and d["networks"]["v4"] for d in near))
        groups = self.api.call("GET", "/v2/reports/droplet_neighbors_ids").json["neighbor_ids"]
        self.assertEqual(sorted(map(sorted, groups)), sorted(sorted(g) for g in at.values() if len(g) > 1))
        gone = made[0]
        self.api.call("DELETE", f"/v2/droplets/{gone}")
        groups = self.api.call("GET", "/v2/reports/droplet_neighbors_ids").json["neighbor_ids"]
        self.assertNotIn(gone, [droplet for group in groups for droplet in group])
        self.refused(self.api.call("GET", f"/v2/droplets/{gone}/neighbors"), 404, "not_found")

    def test_parts_of_a_droplet_are_told_honestly(self):
        one, two = self.system.create(2, prefix="parts")
        backed = self.api.create("backed", backups=True).json["droplet"]["id"]
        for part in ("snapshots", "backups", "kernels", "firewalls"):
            answer = self.api.call("GET", f"/v2/droplets/{one}/{part}?page=1&per_page=200")
            self.assertEqual((answer.status, answer.json), (200, {part: [], "links": {}, "meta": {"total": 0}}))
        self.assertEqual(self.api.call("GET", f"/v2/droplets/{one}/destroy_with_associated_resources").json,
                         {"reserved_ips": [], "floating_ips": [], "snapshots": [], "volumes": [], "volume_snapshots": []})
        self.assertEqual(self.api.call("GET", "/v2/snapshots?resource_type=droplet").json["snapshots"], [])
        policy = {"backup_policy": None, "next_backup_window": None}
        self.assertEqual(self.api.call("GET", f"/v2/droplets/{backed}/backups/policy").json,
                         {"policy": {"droplet_id": backed, "backup_enabled": True, **policy}})
        page = self.api.call("GET", "/v2/droplets/backups/policies?per_page=2").json
        self.assertEqual(page["policies"], {str(backed): {"droplet_id": backed, "backup_enabled": True, **policy},
                                            str(two): {"droplet_id": two, "backup_enabled": False, **policy}})
        self.assertEqual((page["meta"]["total"], set(page["links"]["pages"])), (3, {"next", "last"}))
        self.assertEqual(self.api.call("GET", "/v2/droplets/backups/supported_policies").json, {"supported_policies": []})
        for part in ("snapshots", "backups", "kernels", "firewalls", "neighbors", "backups/policy",
                     "destroy_with_associated_resources"):
            self.refused(self.api.call("GET", f"/v2/droplets/999999999/{part}"), 404, "not_found")
            self.refused(self.api.call("GET", f"/v2/droplets/x/{part}"), 404, "not_found")


if __name__ == "__main__":
    unittest.main()
