"""The OpenAPI document tells the truth: each of its operations answers as it says, and refuses as it says."""
import hashlib
import secrets
import unittest

from tests.support.api import Api
from tests.support.system import SystemTest

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGx0dHRyZXF3ZXJ0eXVpb3Bhc2RmZ2hqa2x6 me@laptop"
DROPLET = {"name": "web", "region": "nyc3", "size": "s-1vcpu-1gb", "image": "debian-12-x64", "tags": ["told"]}
# A good body of each schema.
BODIES = {
    "KeyCreate": {"name": "laptop", "public_key": KEY},
    "KeyUpdate": {"name": "desk"},
    "DropletCreate": DROPLET,
    "TagCreate": {"name": "told"},
    "TagResources": {"resources": [{"resource_id": "999999999", "resource_type": "droplet"}]},
}


class OpenApi(SystemTest):
    options = {"hypervisors": 2}

    def setUp(self):
        answer = self.api.call("GET", "/v2/openapi.json")
        self.assertEqual(answer.status, 200)
        self.document = answer.json
        self.assertEqual(self.document["openapi"], "3.1.0")

    def operations(self):
        for path, item in self.document["paths"].items():
            for method, operation in item.items():
                yield method.upper(), path, operation

    def client(self, number, account, read_only=False):
        """A client with a token of its own, in an account that is made when it is not there."""
        token = "hpn_v1_" + secrets.token_hex(32)
        self.system.sql(f"""
            INSERT IGNORE INTO accounts (id, uuid, email, name, droplet_limit, created_at)
                VALUES ({account}, UUID(), 'tenant{account}@example.com', 'Tenant', 0, 1);
            INSERT INTO tokens (id, account_id, hash, name, read_only, created_at)
                VALUES ({number}, {account}, UNHEX('{hashlib.sha256(token.encode()).hexdigest()}'), 'test', {read_only}, 1);
        """)
        return Api(self.system.layout.url, token)

    def find(self, reference):
        at = self.document
        for part in reference.removeprefix("#/").split("/"):
            at = at[part]
        return at

    def body(self, operation):
        if "requestBody" not in operation:
            return None
        return BODIES[operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]]

    def fill(self, path, **values):
        """The path with its {…} parts filled: by name, or with what nobody has."""
        for part in [p for p in path.split("/") if p.startswith("{")]:
            unknown = "999999999" if part in ("{id}", "{action}") else "nobody-has-it"
            path = path.replace(part, str(values.get(part[1:-1], unknown)))
        return path

    def assert_fits(self, value, schema, where):
        """`value` is what `schema` says, and has no key that it does not name."""
        if "$ref" in schema:
            return self.assert_fits(value, self.find(schema["$ref"]), where)
        if "anyOf" in schema:
            if value is None:
                return self.assertIn({"type": "null"}, schema["anyOf"], where)
            return self.assert_fits(value, schema["anyOf"][0], where)
        kinds = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "array": list, "object": dict}
        if "type" in schema:
            self.assertIsInstance(value, kinds[schema["type"]], where)
        if "enum" in schema:
            self.assertIn(value, schema["enum"], where)
        if schema.get("format") == "date-time":
            self.assertRegex(value, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$", where)
        for i, item in enumerate(value if "items" in schema else ()):
            self.assert_fits(item, schema["items"], f"{where}[{i}]")
        if "additionalProperties" in schema:
            for name, item in value.items():
                self.assert_fits(item, schema["additionalProperties"], f"{where}.{name}")
        elif "properties" in schema:
            self.assertLessEqual(set(schema.get("required", ())), set(value), where)
            if "openapi" in schema["properties"]:
                return None
            self.assertLessEqual(set(value), set(schema["properties"]), where)
            for name, item in value.items():
                self.assert_fits(item, schema["properties"][name], f"{where}.{name}")
        return None

    def assert_answer(self, answer, operation, where):
        """The answer is one the operation names, with the body it names."""
        self.assertIn(str(answer.status), operation["responses"], f"{where}: {answer}")
        told = operation["responses"][str(answer.status)]
        told = self.find(told["$ref"]) if "$ref" in told else told
        if "content" in told:
            self.assert_fits(answer.json, told["content"]["application/json"]["schema"], where)
        else:
            self.assertEqual(answer.body, b"", where)

    def test_each_operation_refuses_as_it_says(self):
        seen = 0
        for method, path, operation in self.operations():
            url, body = self.fill(path), self.body(operation)
            with self.subTest(f"{method} {path}"):
                token, self.api.token = self.api.token, None
                try:
                    answer = self.api.call(method, url, body)
                finally:
                    self.api.token = token
                self.assertEqual(answer.status, 401)
                self.assert_answer(answer, operation, "no token")
                answer = self.api.call(method, url, body, {"Authorization": "Bearer harpoon_v1_wrong"})
                self.assertEqual(answer.status, 401)
                if url != path:
                    answer = self.api.call(method, url, body)
                    self.assertEqual(answer.status, 404)
                    self.assert_answer(answer, operation, "unknown id")
                if body is not None:
                    for broken in (b"", b"{", b"[]", b"null", b'"x"'):
                        answer = self.api.call(method, url, broken)
                        self.assertEqual(answer.status, 400, broken)
                        self.assert_answer(answer, operation, "malformed body")
                    wrong = {key: {"wrong": []} for key in body}
                    answer = self.api.call(method, url, wrong)
                    self.assertIn(answer.status, (404, 422) if url != path else (422,))
                    self.assert_answer(answer, operation, "wrong types")
                seen += 1
        self.assertGreater(seen, 40)

    def test_a_read_only_token_may_read_and_nothing_else(self):
        reader, before = self.client(900001, 1, read_only=True), self.system.sql("SELECT COUNT(*) FROM events")
        for method, path, operation in self.operations():
            with self.subTest(f"{method} {path}"):
                answer = reader.call(method, self.fill(path), self.body(operation))
                if method == "GET":
                    self.assertIn(answer.status, (200, 404))
                else:
                    self.assertEqual((answer.status, answer.json["id"]), (403, "forbidden"))
                self.assert_answer(answer, operation, "read-only token")
        self.assertEqual(self.system.sql("SELECT COUNT(*) FROM events"), before)

    def test_what_another_account_has_is_unknown(self):
        made = self.api.call("POST", "/v2/droplets", {**DROPLET, "name": "mine", "tags": ["mine"]}).json
        key = self.api.call("POST", "/v2/account/keys", {"name": "a", "public_key": KEY.replace("Gx0", "Gx1")}).json["ssh_key"]["id"]
        droplet = made["droplet"]["id"]
        mine = {"id": droplet, "action": made["links"]["actions"][0]["id"], "key": key, "tag": "mine"}
        foreign = self.client(900002, 2)
        for method, path, operation in self.operations():
            if "{" not in path or "{image}" in path:
                continue
            with self.subTest(f"{method} {path}"):
                body = self.body(operation)
                answers = [foreign.call(method, self.fill(path, **values), body) for values in (mine, {})]
                self.assertEqual([a.status for a in answers], [404, 404])
                bodies = [{**a.json, "request_id": None} for a in answers]
                self.assertEqual(bodies[0], bodies[1], "a foreign id answers as an unknown one")
        self.assertEqual(foreign.call("POST", "/v2/tags", {"name": "theirs"}).status, 201)
        tagging = {"resources": [{"resource_id": str(droplet), "resource_type": "droplet"}]}
        for method in ("POST", "DELETE"):
            self.assertEqual(foreign.call(method, "/v2/tags/theirs/resources", tagging).status, 404)
        self.assertEqual([t["name"] for t in foreign.call("GET", "/v2/tags").json["tags"]], ["theirs"])
        self.assertEqual(self.api.droplet(droplet)["tags"], ["mine"])
        self.api.wait_status([droplet])
        for path in (f"/v2/droplets/{droplet}", f"/v2/account/keys/{key}", "/v2/tags/mine"):
            self.assertEqual(self.api.call("DELETE", path).status, 204)
        self.system.wait_quiet()
        self.assert_promises()

    def test_other_methods_are_refused_with_those_there_are(self):
        for path, item in self.document["paths"].items():
            for method in {"GET", "POST", "PUT", "DELETE", "PATCH"} - {m.upper() for m in item}:
                with self.subTest(f"{method} {path}"):
                    answer = self.api.call(method, self.fill(path), b"{}")
                    self.assertEqual((answer.status, answer.json["id"]), (405, "not_found"))
                    self.assertEqual(set(answer.headers["allow"].split(", ")), {m.upper() for m in item})

    def test_each_operation_succeeds_as_it_says(self):
        made = self.api.call("POST", "/v2/droplets", {**DROPLET, "name": "here"}).json
        droplet, action = made["droplet"]["id"], made["links"]["actions"][0]["id"]
        self.api.wait_status([droplet])
        key = self.api.call("POST", "/v2/account/keys", {"name": "a", "public_key": KEY}).json["ssh_key"]["id"]
        there = {"id": droplet, "action": action, "key": key, "tag": "told", "image": "debian-12-x64"}
        rank = {"GET": 0, "PUT": 1, "POST": 2, "DELETE": 3}
        for method, path, operation in sorted(self.operations(), key=lambda o: (rank[o[0]], -len(o[1]))):
            url, body = self.fill(path, **there), self.body(operation)
            if path.endswith("/resources"):
                body = {"resources": [{"resource_id": str(droplet), "resource_type": "droplet"}]}
            if path == "/v2/account/keys" and method == "POST":
                self.api.call("DELETE", f"/v2/account/keys/{key}")
            if any(p["in"] == "query" and p["required"] for p in operation.get("parameters", ())):
                url += "?tag_name=told"
            with self.subTest(f"{method} {path}"):
                answer = self.api.call(method, url, body)
                self.assertLess(answer.status, 300, answer)
                self.assert_answer(answer, operation, f"{method} {path}")
                if path == "/v2/account/keys" and method == "POST":
                    there["key"] = answer.json["ssh_key"]["id"]
        for left in self.api.all_droplets():  # made by the document's own create; its tag went before it
            self.assertEqual(self.api.call("DELETE", f"/v2/droplets/{left['id']}").status, 204)
        self.system.wait_quiet()
        self.assert_promises()


if __name__ == "__main__":
    unittest.main()
