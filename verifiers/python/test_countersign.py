"""python3 -m unittest discover verifiers/python"""

import asyncio
import json
import pathlib
import unittest
from urllib.parse import unquote

from countersign import Asgi, LocalCors, Refused, ReplayMemory, Verifier, Wsgi, key_id, signature

VECTORS = json.loads(
    (pathlib.Path(__file__).parents[2] / "tests" / "vectors" / "sign.json").read_text(encoding="utf-8"))["vectors"]
TOKEN = "0123456789abcdef0123456789abcde"
NOW = 1763740800.0


def request(vector):
    """A vector as a request: method, target, headers."""
    headers = [("x-kms-" + name, str(vector[key])) for name, key in (
        ("user", "user"), ("username", "username_encoded"), ("stamp", "stamp"), ("appid", "app_id"), ("project", "project"))]
    if vector["scheme"] == "rfc9421":
        headers += [("signature-input", vector["signature_input"]), ("signature", vector["signature"])]
        headers += [("host", vector["authority"])]
    else:
        headers += [("x-kms-sign", vector["sign"])]
    query = vector.get("query", "")
    return vector.get("method", "GET"), vector.get("path", "/") + ("?" + query if query else ""), headers


def verifier(vector, **changes):
    options = dict(scheme=vector["scheme"], tokens=[vector["token"]], clock=lambda: vector["stamp"] / 1000)
    return Verifier(**dict(options, **changes))


def usable(vector):
    return len(vector["token"] or "") >= 31 and len(str(vector["stamp"])) == 13


class Vectors(unittest.TestCase):
    def test_every_vector_has_this_signature(self):
        for vector in VECTORS:
            claims = {key: vector.get(key, "") for key in ("user", "project", "app_id", "method", "authority", "path", "query")}
            parameters = vector.get("signature_input", "").partition("=")[2]
            made = signature(vector["scheme"], vector["token"] or "", stamp=vector["stamp"],
                             username=vector["username_encoded"], parameters=parameters, **claims)
            expected = vector["sign"] if "sign" in vector else vector["signature"][len("countersign=:"):-1]
            self.assertEqual(made, expected, vector)
        self.assertGreaterEqual(len(VECTORS), 1000)

    def test_every_usable_vector_is_accepted_as_a_request(self):
        accepted = 0
        for vector in filter(usable, VECTORS):
            identity = verifier(vector, project=vector["project"], app_id=vector["app_id"]).verify(*request(vector))
            self.assertEqual((identity.user, identity.name), (vector["user"], unquote(vector["username_encoded"])))
            accepted += 1
        self.assertGreater(accepted, 700)

    def test_each_flipped_bit_is_refused(self):
        for vector in list(filter(usable, VECTORS))[::25]:
            method, target, headers = request(vector)
            checked = verifier(vector)
            signed = [name for name, _ in headers if self.is_signed(vector["scheme"], name)]
            for place, (name, value) in enumerate(headers):
                if name not in signed:
                    continue
                for at in range(len(value)):
                    for bit in range(7):
                        changed = value[:at] + chr(ord(value[at]) ^ (1 << bit)) + value[at + 1:]
                        if name == "host" and changed.lower() == value.lower():
                            continue
                        with self.assertRaises(Refused, msg=(vector, name, changed)):
                            checked.verify(method, target, headers[:place] + [(name, changed)] + headers[place + 1:])
            if vector["scheme"] in ("hmac-sha256", "rfc9421"):
                for other in (("PUT" if method != "PUT" else "GET", target), (method, target + "x"), (method, "/x" + target)):
                    with self.assertRaises(Refused):
                        checked.verify(*other, headers)

    @staticmethod
    def is_signed(scheme, name):
        unsigned = {"user-stamp": ("username", "appid", "project"), "user-project-stamp": ("username", "appid"),
                    "user-project-appid-stamp": ("username",)}.get(scheme, ())
        return name[len("x-kms-"):] not in unsigned or not name.startswith("x-kms-")


class Requests(unittest.TestCase):
    def setUp(self):
        self.vector = dict(scheme="user-project-stamp", user="dev@example.com", project="demo", app_id="1001",
                           stamp=1763740800000, token=TOKEN, username_encoded="Dev")
        self.vector["sign"] = signature("user-project-stamp", TOKEN, "dev@example.com", "demo", "1001", 1763740800000)

    def refused(self, change=(), **options):
        method, target, headers = request(dict(self.vector, **dict(change)))
        with self.assertRaises(Refused):
            verifier(self.vector, **options).verify(method, target, headers)

    def test_the_window_is_300_seconds_either_way(self):
        for off in (-300, 0, 300):
            verifier(self.vector, clock=lambda: NOW + off).verify(*request(self.vector))
        for off in (-300.01, 300.01, 1e9):
            self.refused(clock=lambda: NOW + off)

    def test_what_is_not_expected_is_refused(self):
        self.refused(project="other")
        self.refused(app_id="1002")
        self.refused(tokens=["another-token-0123456789abcdef0123"])
        self.refused({"sign": "demo"})
        self.refused({"sign": ""})
        self.refused({"sign": self.vector["sign"].upper()})
        for stamp in ("", "0", "176374080000", "01763740800000", "+763740800000", "\u0661763740800000"):
            self.refused({"stamp": stamp})

    def test_headers_come_once(self):
        method, target, headers = request(self.vector)
        for place in range(len(headers)):
            for wrong in (headers[:place] + headers[place + 1:], headers + [headers[place]], headers + [(headers[place][0].upper(), "x")]):
                with self.assertRaises(Refused):
                    verifier(self.vector).verify(method, target, wrong)

    def test_two_tokens_are_valid_while_one_is_replaced(self):
        other = "another-token-0123456789abcdef0123"
        verifier(self.vector, tokens=[other, TOKEN]).verify(*request(self.vector))
        self.assertNotEqual(key_id(other), key_id(TOKEN))
        with self.assertRaises(ValueError):
            verifier(self.vector, tokens=["short"])
        with self.assertRaises(ValueError):
            verifier(self.vector, tokens=[])

    def test_a_signature_is_accepted_once_if_that_is_asked_for(self):
        memory = ReplayMemory(most=2)
        checked = verifier(self.vector, replay=memory)
        checked.verify(*request(self.vector))
        with self.assertRaises(Refused):
            checked.verify(*request(self.vector))
        self.assertTrue(memory.is_new("b", 10, 5))
        self.assertFalse(memory.is_new("c", 10, 5), "full")
        self.assertTrue(memory.is_new("c", 2e9, NOW + 301), "what has expired is forgotten")

    def test_the_demonstration_signature_needs_a_switch(self):
        demo = dict(self.vector, user="demo@example.com", username_encoded="demo", stamp="0", sign="demo")
        identity = verifier(self.vector, demo=True).verify(*request(demo))
        self.assertEqual(identity.user, "demo@example.com")


class Middleware(unittest.TestCase):
    def setUp(self):
        vector = next(v for v in VECTORS if v["scheme"] == "hmac-sha256" and v["query"] and usable(v))
        self.vector, self.verifier = vector, verifier(vector)
        self.request = request(vector)

    def test_wsgi(self):
        method, target, headers = self.request
        seen = []

        def app(environ, start_response):
            start_response("200 OK", [])
            return [environ["countersign"].user.encode()]

        environ = {"HTTP_" + name.upper().replace("-", "_"): value for name, value in headers}
        environ.update({"REQUEST_METHOD": method, "RAW_URI": target})
        body = Wsgi(app, self.verifier)(environ, lambda status, headers: seen.append(status))
        self.assertEqual((seen, body), (["200 OK"], [self.vector["user"].encode()]))
        Wsgi(app, self.verifier)(dict(environ, RAW_URI=target + "x"), lambda status, headers: seen.append(status))
        self.assertEqual(seen[1], "401 Unauthorized")

    def test_asgi(self):
        method, target, headers = self.request
        path, _, query = target.partition("?")
        scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query.encode(),
                 "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers]}
        sent = []

        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            self.assertEqual(scope["countersign"].user, self.vector["user"])

        async def send(message):
            sent.append(message.get("status"))

        asyncio.run(Asgi(app, self.verifier)(scope, None, send))
        asyncio.run(Asgi(app, self.verifier)(dict(scope, method="TRACE"), None, send))
        self.assertEqual(sent[:2], [200, 401])

    def test_cors_is_off_unless_switched_on(self):
        app = lambda environ, start_response: start_response("200 OK", [("x", "y")]) or [b""]
        ask = {"REQUEST_METHOD": "OPTIONS", "HTTP_ORIGIN": "https://demo.example.com", "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "GET"}
        for enabled, origin, status in ((False, "https://demo.example.com", "200 OK"), (True, "https://evil.example", "200 OK"),
                                        (True, "https://demo.example.com", "204 No Content")):
            seen = []
            LocalCors(app, ["https://demo.example.com"], enabled)(dict(ask, HTTP_ORIGIN=origin), lambda *answer: seen.append(answer))
            self.assertEqual(seen[0][0], status)
            self.assertEqual("access-control-allow-origin" in dict(seen[0][1]), status.startswith("204"))


if __name__ == "__main__":
    unittest.main()
