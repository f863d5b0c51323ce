"""Verifies the requests that Countersign signs. One file, Python 3.8 or later, nothing but the standard library: copy it.

    verifier = Verifier("user-project-stamp", tokens=[os.environ["SIGN_TOKEN"]], project="demo", app_id="1001")

    app = Asgi(app, verifier)        # scope["countersign"] is the Identity
    app = Wsgi(app, verifier)        # environ["countersign"]
    identity = verifier.verify("GET", "/api/userlist?x=1", headers)     # raises Refused

What is checked, in this order: each header exactly once; the demonstration signature is refused; the user in lower-case
ASCII; a stamp of 13 digits within the window; project and app id as expected; the signature, in constant time, under each
token; and, with a ReplayMemory, that it has not been seen before.
"""

import base64
import hashlib
import hmac
import re
import threading
import time
from collections import namedtuple
from urllib.parse import quote, unquote

SCHEMES = ("user-stamp", "user-project-stamp", "user-project-appid-stamp", "hmac-sha256", "rfc9421")

Identity = namedtuple("Identity", "user name project app_id stamp")


class Refused(Exception):
    """Why a request is not accepted. For the log, not for the client."""


def signature(scheme, token, user, project, app_id, stamp, username="", method="", authority="", path="", query="",
              prefix="x-kms-", parameters=""):
    """What the signer computes, as text. `username` as it travels; `query` without `?`; `parameters` of rfc9421 alone."""
    text = lambda value: value.encode("utf-8")
    if scheme == "hmac-sha256":
        values = [text(v) for v in (method, path, query, user, username, project, app_id, str(stamp))]
        base = b"countersign-hmac-sha256-1\n" + b"".join(b"%d:%s\n" % (len(v), v) for v in values)
        return hmac.new(text(token), base, hashlib.sha256).hexdigest()
    if scheme == "rfc9421":
        values = [("@method", method), ("@authority", authority), ("@path", path), ("@query", "?" + query),
                  (prefix + "user", user), (prefix + "username", username), (prefix + "stamp", str(stamp)),
                  (prefix + "appid", app_id), (prefix + "project", project), ("@signature-params", parameters)]
        base = "\n".join('"%s": %s' % pair for pair in values)
        return base64.b64encode(hmac.new(text(token), text(base), hashlib.sha256).digest()).decode("ascii")
    middle = {"user-stamp": "", "user-project-stamp": project, "user-project-appid-stamp": project + app_id}[scheme]
    return hashlib.sha256(text(user + middle + str(stamp) + token)).hexdigest()


def key_id(token):
    """Names a token in `keyid` of rfc9421, and tells nothing of it."""
    return hashlib.sha256(b"countersign-key:" + token.encode("utf-8")).hexdigest()[:16]


def _parameters(prefix):
    """The only form that the signer gives to `signature-input`."""
    names = ["@method", "@authority", "@path", "@query"]
    names += [prefix + name for name in ("user", "username", "stamp", "appid", "project")]
    listed = "(" + " ".join('"%s"' % name for name in names) + ")"
    rest = r';created=([0-9]{1,12});expires=([0-9]{1,12});nonce="[A-Za-z0-9-]{1,64}";keyid="([0-9a-f]{16})"'
    rest += r';alg="hmac-sha256";tag="countersign"'
    return re.compile("countersign=(" + re.escape(listed) + rest + ")", re.ASCII)


class ReplayMemory:
    """Remembers signatures for as long as they could be accepted again. For one process; thread-safe."""

    def __init__(self, most=100_000):
        self._seen, self._most, self._lock = {}, most, threading.Lock()

    def is_new(self, sign, until, now):
        """Whether `sign` has not been seen. Full: nothing is new, so that nothing is let through unremembered."""
        with self._lock:
            if len(self._seen) >= self._most:
                self._seen = {sign: end for sign, end in self._seen.items() if end >= now}
            if sign in self._seen or len(self._seen) >= self._most:
                return False
            self._seen[sign] = until
            return True


class Verifier:
    """What an upstream expects.

    scheme: one of SCHEMES. tokens: the sign token; two while it is being replaced. project, app_id: None accepts any.
    window: seconds that a stamp may be old or ahead. replay: a ReplayMemory, or None. demo: accept the demonstration
    signature of local debugging; only on a developer's own machine.
    """

    def __init__(self, scheme, tokens, project=None, app_id=None, window=300, prefix="x-kms-", replay=None, demo=False,
                 clock=time.time):
        if scheme not in SCHEMES:
            raise ValueError("the schemes are " + ", ".join(SCHEMES))
        self.tokens = [tokens] if isinstance(tokens, str) else list(tokens)
        if not self.tokens or any(len(token) < 31 for token in self.tokens):
            raise ValueError("a sign token has at least 31 characters")
        self.scheme, self.project, self.app_id, self.window = scheme, project, app_id, window
        self.prefix, self.replay, self.demo, self.clock = prefix.lower(), replay, demo, clock
        self._input = _parameters(self.prefix)

    def verify(self, method, target, headers, authority=None):
        """`target` as it was received, path and query; `headers` as (name, value) pairs. Returns the Identity."""
        fields = self._fields(headers)
        user, username, project = fields["user"], fields["username"], fields["project"]
        app_id, stamp, sign = fields["appid"], fields["stamp"], fields.get("sign", "")
        if sign == "demo":
            if self.demo:
                return Identity(user, unquote(username), project, app_id, 0)
            raise Refused("the demonstration signature proves nothing")
        if not re.fullmatch(r"[\x21-\x7e]*", user, re.ASCII) or user != user.lower():
            raise Refused("the user is not in lower-case ASCII")
        if not re.fullmatch(r"[1-9][0-9]{12}", stamp, re.ASCII):
            raise Refused("the stamp is not 13 digits")
        now = self.clock()
        if abs(now - int(stamp) / 1000) > self.window:
            raise Refused("the stamp is outside the window")
        if self.project is not None and project != self.project:
            raise Refused("the request is for another project")
        if self.app_id is not None and app_id != self.app_id:
            raise Refused("the request is for another app id")
        path, _, query = target.partition("?")
        claims = dict(user=user, project=project, app_id=app_id, stamp=stamp, username=username, method=method,
                      authority=(authority or fields.get("host", "")).lower(), path=path, query=query,
                      prefix=self.prefix)
        if self.scheme == "rfc9421":
            sign = self._message(fields, claims, now)
        elif not self._holds(sign, claims):
            raise Refused("the signature is wrong")
        if self.replay and not self.replay.is_new(sign, int(stamp) / 1000 + self.window, now):
            raise Refused("the signature has been seen before")
        return Identity(user, unquote(username), project, app_id, int(stamp))

    def _fields(self, headers):
        """The headers of the signature, each exactly once."""
        wanted = {self.prefix + name: name for name in ("user", "username", "stamp", "appid", "project")}
        wanted[self.prefix + "sign"] = "sign"
        if self.scheme == "rfc9421":
            wanted.update({"signature-input": "input", "signature": "signature", "host": "host"})
        fields = {}
        for name, value in headers:
            key = wanted.get(name.lower())
            if key is not None:
                if key in fields:
                    raise Refused("%s comes twice" % name.lower())
                fields[key] = _utf8(value.strip(" \t"))
        optional = {"host"} | ({"sign"} if self.scheme == "rfc9421" else set())
        if self.demo and fields.get("sign") == "demo":
            optional |= {"input", "signature"}
        for name, key in wanted.items():
            if key not in fields and key not in optional:
                raise Refused("there is no %s" % name)
        return fields

    def _holds(self, sign, claims):
        """Every token is tried, whatever the first one says."""
        found = False
        for token in self.tokens:
            expected = signature(self.scheme, token, **claims)
            found |= hmac.compare_digest(expected.encode("utf-8"), sign.encode("utf-8"))
        return found

    def _message(self, fields, claims, now):
        match = self._input.fullmatch(fields["input"])
        sign = re.fullmatch(r"countersign=:([A-Za-z0-9+/]{43}=):", fields["signature"], re.ASCII)
        if not match or not sign:
            raise Refused("signature-input is not the signer's")
        parameters, created, expires, key = match.groups()
        if int(created) != int(claims["stamp"]) // 1000 or now > int(expires) + self.window:
            raise Refused("created and stamp differ, or the signature has expired")
        if not any(hmac.compare_digest(key_id(token), key) for token in self.tokens):
            raise Refused("the key is not known")
        if not self._holds(sign.group(1), dict(claims, parameters=parameters)):
            raise Refused("the signature is wrong")
        return sign.group(1)


def _utf8(text):
    """Servers give a header's bytes as Latin-1; a name that travels raw is UTF-8."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


class Asgi:
    """ASGI middleware: 401 for what is refused, `scope["countersign"]` for what is not."""

    def __init__(self, app, verifier):
        self.app, self.verifier = app, verifier

    async def __call__(self, scope, receive, send):
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        try:
            identity = self.verifier.verify(scope.get("method", "GET"), _asgi_target(scope), _asgi_headers(scope))
        except Refused:
            if scope["type"] == "websocket":
                return await send({"type": "websocket.close", "code": 1008})
            await send({"type": "http.response.start", "status": 401, "headers": [(b"content-type", b"text/plain")]})
            return await send({"type": "http.response.body", "body": b"the signature is not valid\n"})
        await self.app(dict(scope, countersign=identity), receive, send)


def _asgi_headers(scope):
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]


def _asgi_target(scope):
    path = scope.get("raw_path") or quote(scope["path"], safe=_UNQUOTED).encode("ascii")
    query = scope.get("query_string", b"")
    return path.split(b"?")[0].decode("latin-1") + ("?" + query.decode("latin-1") if query else "")


class Wsgi:
    """WSGI middleware: 401 for what is refused, `environ["countersign"]` for what is not.

    Servers tell the path as it came in RAW_URI or REQUEST_URI (gunicorn, uWSGI, Werkzeug); without it, it is encoded
    again, which the schemes that bind the path may find different.
    """

    def __init__(self, app, verifier):
        self.app, self.verifier = app, verifier

    def __call__(self, environ, start_response):
        headers = [(name[5:].replace("_", "-"), value) for name, value in environ.items() if name.startswith("HTTP_")]
        try:
            identity = self.verifier.verify(environ["REQUEST_METHOD"], _wsgi_target(environ), headers)
        except Refused:
            start_response("401 Unauthorized", [("content-type", "text/plain")])
            return [b"the signature is not valid\n"]
        return self.app(dict(environ, countersign=identity), start_response)


_UNQUOTED = "/-._~!$&'()*+,;=:@"


def _wsgi_target(environ):
    raw = environ.get("RAW_URI") or environ.get("REQUEST_URI")
    if raw and raw.startswith("/"):
        return raw
    path = (environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")).encode("latin-1")
    query = environ.get("QUERY_STRING", "")
    return quote(path, safe=_UNQUOTED) + ("?" + query if query else "")


class LocalCors:
    """ASGI and WSGI middleware for local debugging: lets pages of `origins` call this server from a browser, with the
    headers of the demonstration signature. Does nothing unless `enabled`; never enable it on a server that others reach."""

    def __init__(self, app, origins, enabled=False, prefix="x-kms-"):
        self.app, self.origins, self.enabled = app, set(origins), enabled
        names = [prefix + name for name in ("user", "username", "stamp", "appid", "project", "sign")]
        self.allowed = ", ".join(["content-type"] + names)

    def headers(self, origin, preflight):
        """What is added to the answer to a page of `origin`; nothing for one that is not listed."""
        if not self.enabled or origin not in self.origins:
            return []
        added = [("access-control-allow-origin", origin), ("vary", "origin")]
        if preflight:
            added += [("access-control-allow-methods", "GET, HEAD, POST, PUT, PATCH, DELETE"),
                      ("access-control-allow-headers", self.allowed), ("access-control-max-age", "600"),
                      ("access-control-allow-private-network", "true")]
        return added

    def __call__(self, first, second, third=None):
        return self._wsgi(first, second) if third is None else self._asgi(first, second, third)

    def _wsgi(self, environ, start_response):
        preflight = environ["REQUEST_METHOD"] == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ
        added = self.headers(environ.get("HTTP_ORIGIN", ""), preflight)
        if preflight and added:
            start_response("204 No Content", added)
            return [b""]
        wrapped = lambda status, headers, *rest: start_response(status, list(headers) + added, *rest)
        return self.app(environ, wrapped)

    async def _asgi(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        fields = dict(_asgi_headers(scope))
        preflight = scope["method"] == "OPTIONS" and "access-control-request-method" in fields
        added = [(n.encode(), v.encode()) for n, v in self.headers(fields.get("origin", ""), preflight)]
        if preflight and added:
            await send({"type": "http.response.start", "status": 204, "headers": added})
            return await send({"type": "http.response.body", "body": b""})

        async def wrapped(message):
            if message["type"] == "http.response.start":
                message = dict(message, headers=list(message.get("headers", [])) + added)
            await send(message)

        await self.app(scope, receive, wrapped)
