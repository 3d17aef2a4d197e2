"""The OpenAPI document tells the truth: each of its operations answers as it says, and refuses as it says."""
import unittest

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
