"""Bad input: each row gets the documented error with id and message; nothing crashes, nothing is stored."""
import http.client
import json
import socket
import unittest

from tests.support.system import SystemTest

GOOD = {"name": "web", "region": "nyc3", "size": "s-1vcpu-1gb", "image": "debian-12-x64"}
CREATE, BAD, UNPROCESSABLE = "/v2/droplets", (400, "bad_request"), (422, "unprocessable_entity")
NOT_FOUND = (404, "not_found")


def with_(**changes):
    body = {**GOOD, **changes}
    return json.dumps({k: v for k, v in body.items() if v != "absent"}).encode()


# (what, method, path, body, (status, id), a word of the message)
ROWS = [
    ("not JSON", "POST", CREATE, b"nonsense", BAD, ""),
    ("half an object", "POST", CREATE, b'{"name":', BAD, ""),
    ("empty body", "POST", CREATE, b"", BAD, ""),
    ("two documents", "POST", CREATE, b"{}{}", BAD, ""),
    ("an array", "POST", CREATE, b"[]", BAD, ""),
    ("a string", "POST", CREATE, b'"x"', BAD, ""),
    ("invalid UTF-8", "POST", CREATE, b'{"name":"\xff\xfe"}', BAD, ""),
    ("a NUL inside", "POST", CREATE, b'{"name":"a\\u0000b"}', BAD, ""),
    ("10,000 deep", "POST", CREATE, b"[" * 10000 + b"]" * 10000, BAD, ""),
    ("10,000 deep objects", "POST", CREATE, b'{"a":' * 10000 + b"1" + b"}" * 10000, BAD, ""),
    ("no name", "POST", CREATE, with_(name="absent"), UNPROCESSABLE, "name"),
    ("name null", "POST", CREATE, with_(name=None), UNPROCESSABLE, "name"),
    ("name a number", "POST", CREATE, with_(name=7), UNPROCESSABLE, "name"),
    ("name empty", "POST", CREATE, with_(name=""), UNPROCESSABLE, "name"),
    ("name with a space", "POST", CREATE, with_(name="a b"), UNPROCESSABLE, "name"),
    ("name with a slash", "POST", CREATE, with_(name="../../etc"), UNPROCESSABLE, "name"),
    ("name ends with a dash", "POST", CREATE, with_(name="web-"), UNPROCESSABLE, "name"),
    ("name with markup", "POST", CREATE, with_(name="<b>"), UNPROCESSABLE, "name"),
    ("name of 256", "POST", CREATE, with_(name="a" * 256), UNPROCESSABLE, "name"),
    ("name not ASCII", "POST", CREATE, with_(name="wéb"), UNPROCESSABLE, "name"),
    ("names empty", "POST", CREATE, with_(name="absent", names=[]), UNPROCESSABLE, "name"),
    ("names of 11", "POST", CREATE, with_(name="absent", names=[f"n{i}" for i in range(11)]), UNPROCESSABLE, "10"),
    ("names with a bad one", "POST", CREATE, with_(name="absent", names=["ok", "b d"]), UNPROCESSABLE, "name"),
    ("names of numbers", "POST", CREATE, with_(name="absent", names=[1, 2]), UNPROCESSABLE, "name"),
    ("names a string", "POST", CREATE, with_(name="absent", names="web"), UNPROCESSABLE, "name"),
    ("no size", "POST", CREATE, with_(size="absent"), UNPROCESSABLE, "size"),
    ("unknown size", "POST", CREATE, with_(size="s-99vcpu"), UNPROCESSABLE, "size"),
    ("size a number", "POST", CREATE, with_(size=1), UNPROCESSABLE, "size"),
    ("size an object", "POST", CREATE, with_(size={}), UNPROCESSABLE, "size"),
    ("unknown region", "POST", CREATE, with_(region="moon1"), UNPROCESSABLE, "region"),
    ("region a number", "POST", CREATE, with_(region=3), UNPROCESSABLE, "region"),
    ("region with SQL", "POST", CREATE, with_(region="nyc3' OR 1=1 --"), UNPROCESSABLE, "region"),
    ("no image", "POST", CREATE, with_(image="absent"), UNPROCESSABLE, "image"),
    ("unknown image", "POST", CREATE, with_(image="windows-95"), UNPROCESSABLE, "image"),
    ("unknown image number", "POST", CREATE, with_(image=999999999), UNPROCESSABLE, "image"),
    ("image negative", "POST", CREATE, with_(image=-1), UNPROCESSABLE, "image"),
    ("image a list", "POST", CREATE, with_(image=[]), UNPROCESSABLE, "image"),
    ("image a fraction", "POST", CREATE, with_(image=1.5), UNPROCESSABLE, "image"),
    ("unknown key", "POST", CREATE, with_(ssh_keys=[424242]), UNPROCESSABLE, "ssh"),
    ("keys a string", "POST", CREATE, with_(ssh_keys="all"), UNPROCESSABLE, "ssh_keys"),
    ("keys of objects", "POST", CREATE, with_(ssh_keys=[{}]), UNPROCESSABLE, "ssh"),
    ("unknown fingerprint", "POST", CREATE, with_(ssh_keys=["aa:bb"]), UNPROCESSABLE, "ssh"),
    ("tags a string", "POST", CREATE, with_(tags="web"), UNPROCESSABLE, "tag"),
    ("tag with a space", "POST", CREATE, with_(tags=["a b"]), UNPROCESSABLE, "tag"),
    ("tag of 256", "POST", CREATE, with_(tags=["t" * 256]), UNPROCESSABLE, "tag"),
    ("tags of numbers", "POST", CREATE, with_(tags=[1]), UNPROCESSABLE, "tag"),
    ("user data a number", "POST", CREATE, with_(user_data=1), UNPROCESSABLE, "user_data"),
    ("user data of 65,537", "POST", CREATE, with_(user_data="u" * 65537), UNPROCESSABLE, "user_data"),
    ("ipv6 a string", "POST", CREATE, with_(ipv6="perhaps"), UNPROCESSABLE, "ipv6"),
    ("backups a list", "POST", CREATE, with_(backups=[]), UNPROCESSABLE, "backups"),
    ("body of 300 KiB", "POST", CREATE, with_(user_data="u" * 300 * 1024), (413, None), "262144"),
    ("unknown droplet", "GET", "/v2/droplets/999999999", None, NOT_FOUND, ""),
    ("droplet zero", "GET", "/v2/droplets/0", None, NOT_FOUND, ""),
    ("droplet negative", "GET", "/v2/droplets/-1", None, NOT_FOUND, ""),
    ("droplet a word", "GET", "/v2/droplets/abc", None, NOT_FOUND, ""),
    ("droplet beyond 64 bits", "GET", "/v2/droplets/99999999999999999999999", None, NOT_FOUND, ""),
    ("droplet with a tail", "GET", "/v2/droplets/1x", None, NOT_FOUND, ""),
    ("delete unknown", "DELETE", "/v2/droplets/999999999", None, NOT_FOUND, ""),
    ("delete all", "DELETE", "/v2/droplets", None, UNPROCESSABLE, "tag_name"),
    ("unknown action", "GET", "/v2/actions/999999999", None, NOT_FOUND, ""),
    ("action of unknown droplet", "GET", "/v2/droplets/999999999/actions", None, NOT_FOUND, ""),
    ("unknown image by slug", "GET", "/v2/images/none", None, NOT_FOUND, ""),
    ("unknown key by id", "GET", "/v2/account/keys/999", None, NOT_FOUND, ""),
    ("unknown path", "GET", "/v2/nothing", None, NOT_FOUND, ""),
    ("no version", "GET", "/droplets", None, NOT_FOUND, ""),
    ("encoded slash", "GET", "/v2/droplets%2f1", None, NOT_FOUND, ""),
    ("broken escape", "GET", "/v2/images/%zz", None, NOT_FOUND, ""),
    ("wrong method on droplets", "PATCH", CREATE, b"{}", (405, "not_found"), ""),
    ("wrong method on account", "POST", "/v2/account", b"{}", (405, "not_found"), ""),
    ("wrong method on a droplet", "PUT", "/v2/droplets/1", b"{}", (405, "not_found"), ""),
    ("key without name", "POST", "/v2/account/keys", b'{"public_key":"ssh-rsa AAAA"}', UNPROCESSABLE, "name"),
    ("key without key", "POST", "/v2/account/keys", b'{"name":"x"}', UNPROCESSABLE, "key"),
    ("key not a key", "POST", "/v2/account/keys", b'{"name":"x","public_key":"hello"}', UNPROCESSABLE, "key"),
]


class BadInput(SystemTest):
    options = {"hypervisors": 1}

    def stored(self):
        tables = ("droplets", "events", "ssh_keys", "droplet_tags")
        return [self.system.sql(f"SELECT COUNT(*) FROM {table}")[0][0] for table in tables]

    def raw(self, text, half_close=True):
        """Sends bytes as they are; returns the status line's number, or None when the peer just closed."""
        host, port = self.system.layout.api_http(1).split(":")
        with socket.create_connection((host, int(port)), timeout=40) as s:
            answer = http.client.HTTPResponse(s)
            try:
                s.sendall(text)
                if half_close:
                    s.shutdown(socket.SHUT_WR)
                answer.begin()
            except (http.client.HTTPException, OSError):
                return None
            return answer.status

    def test_each_row_of_the_table_is_refused_as_documented(self):
        before = self.stored()
        for what, method, path, body, (status, name), word in ROWS:
            with self.subTest(what):
                answer = self.api.call(method, path, body)
                self.assertEqual(answer.status, status, answer)
                self.assertTrue(answer.json["message"])
                self.assertIn(word, answer.json["message"])
                if name:
                    self.assertEqual(answer.json["id"], name)
        self.assertEqual(self.stored(), before)

    def test_without_a_valid_token_nothing_is_told(self):
        for authorization in (None, "", "Bearer", "Bearer ", "Bearer wrong", "Basic abc", "Bearer " + "x" * 5000):
            for method, path in (("GET", "/v2/account"), ("POST", CREATE), ("GET", "/v2/nothing"), ("DELETE", "/v2/droplets/1")):
                with self.subTest(authorization=authorization, path=path):
                    token, self.api.token = self.api.token, None
                    try:
                        answer = self.api.call(method, path, None, {"Authorization": authorization} if authorization else {})
                    finally:
                        self.api.token = token
                    self.assertEqual((answer.status, answer.json["id"]), (401, "unauthorized"))
                    self.assertTrue(answer.json["message"])

    def test_protocol_nonsense_ends_that_connection_only(self):
        token = self.system.layout.token
        head = f"POST {CREATE} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        before = self.stored()
        for what, text in {
            "garbage": b"\x00\xff\x16\x03\x01 garbage\r\n\r\n",
            "no host": b"GET /v2/account HTTP/1.1\r\n\r\n",
            "two lengths": (head + "Content-Length: 2\r\nContent-Length: 5\r\n\r\n{}").encode(),
            "length and chunks": (head + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").encode(),
            "negative length": (head + "Content-Length: -5\r\n\r\n{}").encode(),
            "header of 200 KiB": (head + "X-Long: " + "x" * 200 * 1024 + "\r\n\r\n").encode(),
        }.items():
            with self.subTest(what):
                status = self.raw(text)
                self.assertTrue(status is None or 400 <= status < 500, status)
        self.assertEqual(self.api.call("GET", "/v2/account").status, 200)
        self.assertEqual(self.stored(), before)

    def test_half_a_request_and_then_silence_is_let_go(self):
        token = self.system.layout.token
        head = f"POST {CREATE} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 100\r\n\r\n{{\"name\":"
        before = self.stored()
        status = self.raw(head.encode(), half_close=False)
        self.assertTrue(status is None or 400 <= status < 500, status)
        self.assertEqual(self.stored(), before)
        self.assertEqual(self.api.call("GET", "/v2/account").status, 200)


if __name__ == "__main__":
    unittest.main()
