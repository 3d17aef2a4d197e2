"""A plain client of the public API, for stories that look at the raw answers."""
import json
import time
import urllib.error
import urllib.request


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body) if self.body else None

    def __repr__(self):
        return f"{self.status} {self.body[:300]!r}"


class Api:
    def __init__(self, url, token):
        self.url, self.token = url.rstrip("/"), token

    def call(self, method, path, body=None, headers=None, timeout=30):
        """One request; answers of any status are returned. `body`: an object becomes JSON, bytes go as they are."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, method=method, data=body)
        request.add_header("Content-Type", "application/json")
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.headers, error.read())

    def patiently(self, method, path, body=None, timeout_s=60):
        """Repeats while the service says 5xx or 429, or cannot be reached; returns the first other answer."""
        end = time.monotonic() + timeout_s
        while True:
            try:
                answer = self.call(method, path, body)
                if answer.status < 500 and answer.status != 429:
                    return answer
                what = repr(answer)
            except OSError as error:
                what = str(error)
            if time.monotonic() > end:
                raise TimeoutError(f"{method} {path}: {what}")
            time.sleep(0.1)

    def create(self, name, **more):
        body = {"name": name, "region": "nyc3", "size": "s-1vcpu-1gb", "image": "debian-12-x64", **more}
        return self.call("POST", "/v2/droplets", body)

    def droplet(self, droplet_id):
        """The Droplet, or None when the API says 404."""
        answer = self.patiently("GET", f"/v2/droplets/{droplet_id}")
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise RuntimeError(repr(answer))
        return answer.json["droplet"]

    def all_droplets(self, query=""):
        """Every Droplet, following the pages' own links."""
        found, path = [], f"/v2/droplets?per_page=200{query}"
        while path:
            answer = self.patiently("GET", path)
            if answer.status != 200:
                raise RuntimeError(repr(answer))
            found += answer.json["droplets"]
            following = answer.json["links"].get("pages", {}).get("next")
            path = following[following.index("/v2/"):] if following else None
        return found

    def wait_status(self, droplet_ids, status="active", timeout_s=120):
        """Waits until all of them have `status`; the error says which have not."""
        wanted, end = set(droplet_ids), time.monotonic() + timeout_s
        while True:
            at = {d["id"]: d["status"] for d in self.all_droplets() if d["id"] in wanted}
            if all(at.get(i) == status for i in wanted):
                return
            if time.monotonic() > end:
                others = {i: at.get(i) for i in wanted if at.get(i) != status}
                raise TimeoutError(f"{len(others)} of {len(wanted)} not {status} after {timeout_s} s: {dict(list(others.items())[:10])}")
            time.sleep(0.1)
