"""Customers: what is asked twice with one key is done once, nobody sees what is another's, and tokens may what they may."""
import concurrent.futures
import json
import signal
import socket
import time
import unittest

from tests.support.api import Api
from tests.support.servers import wait_until
from tests.support.system import SystemTest

UNKNOWN = 9007199254740000
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{} someone@example.com"


def public_key(n):
    """Of the right form, another one for each number."""
    return KEY.format(format(n, "08d").replace("0", "Q") + "A" * 35)


def create_body(name, **more):
    return {"name": name, "region": "nyc3", "size": "s-1vcpu-1gb", "image": "debian-12-x64", **more}


def without_request_id(answer):
    body = answer.json
    if body:
        body.pop("request_id", None)
    return answer.status, body


class Tenants(SystemTest):
    options = {"hypervisors": 5, "replicas": 2}
    made = 0

    # ---- helpers ----
    def ctl(self, *words):
        return json.loads(self.system.cluster.ctl(*words, "--output", "json"))

    def refused(self, code, *words):
        with self.assertRaisesRegex(RuntimeError, f"exit {code}: "):
            self.system.cluster.ctl(*words)

    def account(self, *options):
        """A new account's number."""
        Tenants.made += 1
        return self.ctl("account", "create", "--email", f"customer{self.made}@example.com", "--no-rate-limit",
                        *options)["account"]["id"]

    def client(self, account, *options, replica=1):
        made = self.ctl("token", "create", "--account", str(account), *options)
        client = Api(f"http://{self.system.layout.api_http(replica)}", made["text"])
        client.token_id = made["token"]["id"]
        return client

    def other(self, client):
        """The same customer at the other replica."""
        urls = [f"http://{self.system.layout.api_http(i)}" for i in (1, 2)]
        return Api(urls[1 - urls.index(client.url)], client.token)

    def names(self, account):
        rows = self.system.sql(f"SELECT name FROM droplets WHERE account_id = {account} AND deleted_at IS NULL")
        return sorted(row[0] for row in rows)

    def post(self, client, body, key, path="/v2/droplets"):
        return client.call("POST", path, body, {"Idempotency-Key": key})

    # ---- Idempotency-Key ----
    def test_same_key_and_body_is_one_droplet_and_one_answer(self):
        account = self.account()
        client = self.client(account)
        first = self.post(client, create_body("once", tags=["a"]), "k-1")
        self.assertEqual(first.status, 202)
        self.assertIsNone(first.headers["idempotent-replayed"])
        for again in (client, self.other(client)):
            answer = self.post(again, create_body("once", tags=["a"]), "k-1")
            self.assertEqual((answer.status, answer.body), (202, first.body))
            self.assertEqual(answer.headers["idempotent-replayed"], "true")
        client.wait_status([first.json["droplet"]["id"]])
        self.assertEqual(self.post(client, create_body("once", tags=["a"]), "k-1").body, first.body)
        self.assertEqual(self.names(account), ["once"])

    def test_several_droplets_are_one_answer(self):
        account = self.account()
        client = self.client(account)
        body = {**create_body("x"), "names": ["a", "b", "c"]}
        del body["name"]
        answers = [self.post(c, body, "several").json for c in (client, self.other(client))]
        self.assertEqual(answers[0], answers[1])
        self.assertEqual(self.names(account), ["a", "b", "c"])

    def test_another_body_or_path_is_refused(self):
        account = self.account()
        client = self.client(account)
        self.assertEqual(self.post(client, create_body("one"), "k").status, 202)
        for path, body in (("/v2/droplets", create_body("two")),
                           ("/v2/account/keys", {"name": "k", "public_key": public_key(1)})):
            answer = self.post(self.other(client), body, "k", path)
            self.assertEqual((answer.status, answer.json["id"]), (422, "unprocessable_entity"))
            self.assertIn("Idempotency-Key", answer.json["message"])
        self.assertEqual(self.names(account), ["one"])
        self.assertEqual(client.call("GET", "/v2/account/keys").json["meta"]["total"], 0)

    def test_key_is_the_accounts_own(self):
        one, two = self.account(), self.account()
        first = self.post(self.client(one), create_body("same"), "shared")
        second = self.post(self.client(two), create_body("same"), "shared")
        self.assertEqual((first.status, second.status), (202, 202))
        self.assertNotEqual(first.json["droplet"]["id"], second.json["droplet"]["id"])

    def test_refused_request_does_not_use_its_key(self):
        account = self.account()
        client = self.client(account)
        self.assertEqual(self.post(client, create_body("web", size="no-such"), "k").status, 422)
        self.assertEqual(self.post(client, b"{", "k").status, 400)
        self.assertEqual(self.post(client, create_body("web"), "k").status, 202)
        self.assertEqual(self.names(account), ["web"])

    def test_key_must_be_printable_and_not_too_long(self):
        account = self.account()
        client = self.client(account)
        for key in ("", "x" * 256, "schl\u00fcssel", "a\tb"):
            with self.subTest(key=key[:10]):
                answer = self.post(client, create_body("web"), key)
                self.assertEqual(answer.status, 422, answer)
        self.assertEqual(self.names(account), [])
        self.assertEqual(self.post(client, create_body("web"), "x" * 255).status, 202)

    def test_ssh_key_is_added_once(self):
        client = self.client(self.account())
        body = {"name": "laptop", "public_key": public_key(2)}
        first = self.post(client, body, "k", "/v2/account/keys")
        self.assertEqual(first.status, 201, first)
        again = self.post(self.other(client), body, "k", "/v2/account/keys/")
        self.assertEqual((again.status, again.body), (201, first.body))
        self.assertEqual(client.call("POST", "/v2/account/keys", body).status, 422)
        self.assertEqual(client.call("GET", "/v2/account/keys").json["meta"]["total"], 1)

    def test_second_request_waits_its_turn_while_the_first_is_in_flight(self):
        account = self.account()
        client = self.client(account)
        self.assertEqual(client.call("GET", "/v2/droplets").status, 200)
        database = self.system.cluster.mariadb
        database.kill(signal.SIGSTOP)
        try:
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                both = [pool.submit(self.post, client, create_body("slow"), "k") for _ in range(2)]
                early = next(concurrent.futures.as_completed(both, timeout=10)).result()
                other = self.post(client, create_body("else"), "k")
                database.kill(signal.SIGCONT)
                answers = sorted(f.result().status for f in both)
        finally:
            database.kill(signal.SIGCONT)
        self.assertEqual((early.status, early.json["id"]), (409, "conflict"))
        self.assertEqual(other.status, 422)
        self.assertEqual(answers, [202, 409])
        self.assertEqual(self.post(client, create_body("slow"), "k").status, 202)
        self.assertEqual(self.names(account), ["slow"])

    def test_api_killed_between_and_every_request_repeated(self):
        account = self.account("--droplet-limit", "0")
        client = self.client(account)
        names = [f"k-{i}" for i in range(200)]
        answered = {}

        def create(name):
            """Repeats until it is accepted, at the other replica when one does not answer; the answer."""
            at, end = client, time.monotonic() + 60
            while time.monotonic() < end:
                try:
                    answer = self.post(at, create_body(name), f"key of {name}")
                    if answer.status == 202:
                        return answer.body
                    if answer.status not in (409, 429, 503):
                        raise RuntimeError(repr(answer))
                except OSError:
                    at = self.other(at)
                time.sleep(0.05)
            raise TimeoutError(name)

        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            running = {pool.submit(create, name): name for name in names}
            for n, future in enumerate(concurrent.futures.as_completed(running)):
                answered[running[future]] = future.result()
                if n == 20:
                    self.system.cluster.kill("harpoon-api-1", signal.SIGKILL)
        self.system.cluster.start("harpoon-api-1")
        self.system.cluster.find("harpoon-api-1").wait_ready()
        self.assertEqual(self.names(account), sorted(names))
        for name in names:
            self.assertEqual(create(name), answered[name], name)
        self.assertEqual(self.names(account), sorted(names))
        ids = [json.loads(body)["droplet"]["id"] for body in answered.values()]
        client.wait_status(ids)
        self.system.wait_quiet()
        live = self.system.sql("SELECT id FROM droplets WHERE deleted_at IS NULL")
        self.assert_promises(live=[int(row[0]) for row in live])

    def test_answer_that_never_arrived_is_there_after_a_crash(self):
        account = self.account()
        client = self.client(account)
        host, port = client.url.removeprefix("http://").split(":")
        body = json.dumps(create_body("lost")).encode()
        head = (f"POST /v2/droplets HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {client.token}\r\n"
                f"Idempotency-Key: k\r\nContent-Length: {len(body)}\r\n\r\n")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(head.encode() + body)
            wait_until(lambda: self.names(account) == ["lost"], 10, "it is committed")
        self.system.cluster.kill("harpoon-api-1", signal.SIGKILL)
        elsewhere = self.post(self.other(client), create_body("lost"), "k")
        self.system.cluster.start("harpoon-api-1")
        self.system.cluster.find("harpoon-api-1").wait_ready()
        again = self.post(client, create_body("lost"), "k")
        for answer in (elsewhere, again):
            self.assertEqual((answer.status, answer.headers["idempotent-replayed"]), (202, "true"))
        self.assertEqual(elsewhere.body, again.body)
        self.assertEqual(self.names(account), ["lost"])
        client.wait_status([again.json["droplet"]["id"]])

    def test_answer_is_kept_for_a_day(self):
        account = self.account()
        client = self.client(account)
        kept, gone = [self.post(client, create_body(n), n).json["droplet"]["id"] for n in ("kept", "gone")]
        self.system.sql(f"UPDATE idempotency SET created_at = created_at - IF(name = 'gone', 86400000, 86300000)"
                        f" WHERE account_id = {account}")
        count = f"SELECT COUNT(*) FROM idempotency WHERE account_id = {account}"
        wait_until(lambda: self.system.sql(count)[0][0] == "1", 30, "the old answer is removed")
        self.assertEqual(self.post(client, create_body("kept"), "kept").json["droplet"]["id"], kept)
        self.assertNotEqual(self.post(client, create_body("gone"), "gone").json["droplet"]["id"], gone)

    # ---- isolation ----
    def test_what_is_anothers_answers_as_what_is_not_there(self):
        owner_id, other_id = self.account(), self.account()
        owner, other = self.client(owner_id), self.client(other_id)
        droplet = owner.create("mine", tags=["mine-tag"]).json["droplet"]["id"]
        key = owner.call("POST", "/v2/account/keys", {"name": "mine", "public_key": public_key(3)}).json["ssh_key"]
        own = other.create("theirs").json["droplet"]["id"]
        image = self.private_image(owner, owner_id)
        owner.wait_status([droplet])
        other.wait_status([own])
        action = owner.call("GET", f"/v2/droplets/{droplet}/actions").json["actions"][0]["id"]
        before = self.all_of(owner, droplet)

        for method, path, foreign, unknown in (
                ("GET", "/v2/droplets/{}", droplet, UNKNOWN),
                ("DELETE", "/v2/droplets/{}", droplet, UNKNOWN),
                ("GET", "/v2/droplets/{}/actions", droplet, UNKNOWN),
                ("GET", f"/v2/droplets/{{}}/actions/{action}", droplet, UNKNOWN),
                ("GET", f"/v2/droplets/{own}/actions/{{}}", action, UNKNOWN),
                ("GET", "/v2/actions/{}", action, UNKNOWN),
                ("GET", "/v2/account/keys/{}", key["id"], UNKNOWN),
                ("GET", "/v2/account/keys/{}", key["fingerprint"], "00:" * 15 + "00"),
                ("PUT", "/v2/account/keys/{}", key["id"], UNKNOWN),
                ("PUT", "/v2/account/keys/{}", key["fingerprint"], "00:" * 15 + "00"),
                ("DELETE", "/v2/account/keys/{}", key["id"], UNKNOWN),
                ("DELETE", "/v2/account/keys/{}", key["fingerprint"], "00:" * 15 + "00"),
                ("GET", "/v2/images/{}", image, UNKNOWN)):
            with self.subTest(method=method, path=path):
                body = {"name": "stolen"} if method == "PUT" else None
                theirs = other.call(method, path.format(foreign), body)
                nobodys = other.call(method, path.format(unknown), body)
                self.assertEqual(without_request_id(theirs), without_request_id(nobodys))
                self.assertEqual((theirs.status, theirs.json["id"]), (404, "not_found"))

        for field, foreign, unknown in (("image", image, UNKNOWN), ("ssh_keys", [key["id"]], [UNKNOWN]),
                                        ("ssh_keys", [key["fingerprint"]], ["00:" * 15 + "00"])):
            with self.subTest(create=field, foreign=foreign):
                answers = [other.call("POST", "/v2/droplets", create_body("x", **{field: value}))
                           for value in (foreign, unknown)]
                plain = [a.json["message"].replace(str(v[0] if isinstance(v, list) else v), "?")
                         for a, v in zip(answers, (foreign, unknown))]
                self.assertEqual([a.status for a in answers], [422, 422])
                self.assertEqual(plain[0], plain[1])

        self.assertEqual([d["id"] for d in other.all_droplets()], [own])
        self.assertEqual(other.call("DELETE", "/v2/droplets?tag_name=mine-tag").status, 204)
        for path, items in (("/v2/droplets?tag_name=mine-tag", "droplets"), ("/v2/droplets?name=mine", "droplets"),
                            ("/v2/account/keys", "ssh_keys"), ("/v2/images?private=true", "images")):
            with self.subTest(path):
                answer = other.call("GET", path)
                self.assertEqual((answer.status, answer.json[items], answer.json["meta"]["total"]), (200, [], 0))
        self.assertNotIn(action, [a["id"] for a in other.call("GET", "/v2/actions?per_page=200").json["actions"]])
        self.assertEqual(self.all_of(owner, droplet), before)

    def private_image(self, owner, account):
        image = 900000000 + account
        self.system.sql("INSERT INTO images (id, account_id, slug, name, distribution, type, min_disk_gib, size_gigabytes,"
                        f" description, url, sha256, created_at) SELECT {image}, {account}, NULL, 'mine', distribution,"
                        " 'snapshot', min_disk_gib, size_gigabytes, '', url, sha256, created_at FROM images"
                        " WHERE slug = 'debian-12-x64'")
        wait_until(lambda: owner.call("GET", f"/v2/images/{image}").status == 200, 90, "the image is in the catalogue")
        return image

    def all_of(self, owner, droplet):
        paths = (f"/v2/droplets/{droplet}", f"/v2/droplets/{droplet}/actions", "/v2/account/keys", "/v2/images?private=true")
        return [(a.status, a.json) for a in (owner.call("GET", path) for path in paths)]

    # ---- tokens ----
    def test_read_only_token_looks_and_changes_nothing(self):
        account = self.account()
        client, reader = self.client(account), self.client(account, "--read-only", "--name", "dashboard")
        droplet = client.create("mine").json["droplet"]["id"]
        key = client.call("POST", "/v2/account/keys", {"name": "k", "public_key": public_key(4)}).json["ssh_key"]["id"]
        for path in ("/v2/account", f"/v2/droplets/{droplet}", "/v2/droplets", "/v2/actions", f"/v2/account/keys/{key}"):
            with self.subTest(path):
                self.assertEqual(reader.call("GET", path).status, 200)
        for method, path, body in (
                ("POST", "/v2/droplets", create_body("x")), ("DELETE", f"/v2/droplets/{droplet}", None),
                ("DELETE", "/v2/droplets?tag_name=a", None), ("DELETE", f"/v2/droplets/{UNKNOWN}", None),
                ("POST", "/v2/account/keys", {"name": "k", "public_key": public_key(5)}), ("POST", "/v2/droplets", b"{"),
                ("PUT", f"/v2/account/keys/{key}", {"name": "x"}), ("DELETE", f"/v2/account/keys/{key}", None)):
            with self.subTest(method=method, path=path):
                answer = reader.call(method, path, body, {"Idempotency-Key": "k"})
                self.assertEqual((answer.status, answer.json["id"]), (403, "forbidden"))
        self.assertEqual(self.names(account), ["mine"])

    def test_expired_token_is_refused(self):
        client = self.client(self.account(), "--expires", "3s")
        self.assertEqual(client.call("GET", "/v2/account").status, 200)
        wait_until(lambda: client.call("GET", "/v2/account").status == 401, 6, "the token has expired")
        self.assertEqual(client.call("GET", "/v2/account").json["id"], "unauthorized")

    def test_revoked_token_is_refused_everywhere_within_five_seconds(self):
        account = self.account()
        client, stays = self.client(account, "--name", "lost"), self.client(account)
        both = [client, self.other(client)]
        self.assertEqual([c.call("GET", "/v2/account").status for c in both], [200, 200])

        def used():
            return [t for t in self.ctl("token", "list", "--account", str(account))["tokens"] if t["used_at"]]

        wait_until(used, 10, "its use is noted")
        self.assertEqual(used()[0]["id"], client.token_id)
        self.system.cluster.ctl("token", "revoke", str(client.token_id))
        wait_until(lambda: [c.call("GET", "/v2/account").status for c in both] == [401, 401], 5, "it is refused")
        self.system.cluster.ctl("token", "revoke", str(client.token_id))
        self.assertEqual(stays.call("GET", "/v2/account").status, 200)
        listed = {t["id"]: t for t in self.ctl("token", "list", "--account", str(account))["tokens"]}
        self.assertIsNotNone(listed[client.token_id]["revoked_at"])
        self.assertIsNone(listed[stays.token_id]["revoked_at"])

    def test_operators_are_told_what_is_wrong(self):
        account = self.account("--name", "Example, Inc.")
        shown = [a for a in self.ctl("account", "list", "--limit", "1000")["accounts"] if a["id"] == account]
        self.assertEqual((shown[0]["name"], shown[0]["droplet_limit"], shown[0]["droplets"]), ("Example, Inc.", 25, 0))
        self.refused(4, "account", "create", "--email", shown[0]["email"])
        self.refused(2, "account", "create", "--email", "nobody")
        self.refused(2, "token", "create")
        self.refused(2, "token", "create", "--account", str(account), "--expires", "soon")
        self.refused(3, "token", "create", "--account", str(UNKNOWN))
        self.refused(3, "token", "revoke", str(UNKNOWN))
        text = self.system.cluster.ctl("token", "create", "--email", shown[0]["email"]).strip()
        self.assertRegex(text, r"^hpn_v1_[0-9a-f]{64}$")
        self.assertNotIn(text, self.system.cluster.ctl("token", "list", "--account", str(account)))
        for log in (self.system.folder / "logs").glob("harpoon-api-*.log"):
            self.assertNotIn(text, log.read_text())

    # ---- limits ----
    def test_droplets_beyond_the_limit_are_refused(self):
        account = self.account("--droplet-limit", "3")
        client = self.client(account)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            sides = [client, self.other(client)]
            answers = list(pool.map(lambda i: sides[i % 2].create(f"d-{i}"), range(16)))
        self.assertEqual(sorted(a.status for a in answers), [202] * 3 + [422] * 13)
        refused = next(a for a in answers if a.status == 422).json
        self.assertEqual(refused["id"], "unprocessable_entity")
        self.assertIn("droplet limit", refused["message"])
        self.assertEqual(len(self.names(account)), 3)
        first = client.all_droplets()[0]["id"]
        self.assertEqual(client.call("DELETE", f"/v2/droplets/{first}").status, 204)
        body = {**create_body("x"), "names": ["a", "b"]}
        del body["name"]
        self.assertEqual(client.call("POST", "/v2/droplets", body).status, 422)
        self.assertEqual(self.post(client, create_body("last"), "k").status, 202)
        self.assertEqual(self.post(client, create_body("last"), "k").status, 202)
        self.assertEqual(self.post(client, create_body("more"), "k2").status, 422)
        self.assertEqual(len(self.names(account)), 3)


if __name__ == "__main__":
    unittest.main()
