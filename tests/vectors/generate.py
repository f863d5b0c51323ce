#!/usr/bin/env python3
"""Writes sign.json. Hand-picked cases first, then a grid and a few from a fixed seed; running it again changes nothing."""

import base64
import hashlib
import hmac
import itertools
import json
import pathlib
import random
from urllib.parse import quote

SCHEMES = ["user-stamp", "user-project-stamp", "user-project-appid-stamp"]
BINDING = ["hmac-sha256", "rfc9421"]
TOKEN = "0123456789abcdef0123456789abcde"
CHINESE = "张三"


def base(scheme, user, project, app_id, stamp):
    middle = {"user-stamp": "", "user-project-stamp": project, "user-project-appid-stamp": project + app_id}[scheme]
    return user + middle + str(stamp)


def vector(scheme, user, project, app_id, stamp, token, username):
    text = base(scheme, user, project, app_id, stamp) + (token or "")
    return {
        "scheme": scheme,
        "user": user,
        "project": project,
        "app_id": app_id,
        "stamp": stamp,
        "token": token,
        "username": username,
        "username_encoded": quote(username, safe="-._~"),
        "sign": hashlib.sha256(text.encode()).hexdigest(),
    }


def mac(token, text):
    return hmac.new(token.encode(), text.encode(), hashlib.sha256)


def bound(scheme, user, project, app_id, stamp, token, username, method, authority, path, query, nonce):
    """A vector of a scheme that binds the request."""
    encoded = quote(username, safe="-._~")
    made = {
        "scheme": scheme, "user": user, "project": project, "app_id": app_id, "stamp": stamp, "token": token,
        "username": username, "username_encoded": encoded,
        "method": method, "authority": authority, "path": path, "query": query,
    }
    if scheme == "hmac-sha256":
        values = [method, path, query, user, encoded, project, app_id, str(stamp)]
        text = "countersign-hmac-sha256-1\n" + "".join(f"{len(v.encode())}:{v}\n" for v in values)
        return made | {"sign": mac(token, text).hexdigest()}
    fields = [("user", user), ("username", encoded), ("stamp", str(stamp)), ("appid", app_id), ("project", project)]
    names = ["@method", "@authority", "@path", "@query"] + ["x-kms-" + name for name, _ in fields]
    created, key = stamp // 1000, hashlib.sha256(("countersign-key:" + token).encode()).hexdigest()[:16]
    parameters = (
        "(" + " ".join(f'"{name}"' for name in names) + f");created={created};expires={created + 300}"
        f';nonce="{nonce}";keyid="{key}";alg="hmac-sha256";tag="countersign"'
    )
    values = [method, authority, path, "?" + query] + [value for _, value in fields] + [parameters]
    text = "\n".join(f'"{name}": {value}' for name, value in zip(names + ["@signature-params"], values))
    signature = base64.b64encode(mac(token, text).digest()).decode()
    return made | {
        "nonce": nonce, "signature_input": "countersign=" + parameters, "signature": f"countersign=:{signature}:",
    }


def hand_picked_bound():
    now = 1763740800000
    someone = ("dev@example.com", "demo", "1001", now, TOKEN, "Dev")
    for scheme in BINDING:
        for method, authority, path, query in [
            ("GET", "users.example.com", "/api/userlist", ""),
            ("GET", "users.example.com", "/api/userlist", "x=1"),
            ("POST", "users.example.com:8443", "/", "a=1&b=%2F&a=2"),
            ("DELETE", "[2001:db8::1]:8443", "/a%20b/%E4%B8%AD", "q=%3F"),
            ("PATCH", "x.example.com", "/a;v=1/b,c", "?"),
            ("OPTIONS", "x.example.com", "/api", "x=1:2"),
            ("PROPFIND", "x.example.com", "/3:a", "3:b"),
        ]:
            yield (scheme, *someone, method, authority, path, query, "0123456789abcdef0123456789abcdef")
        where = ("GET", "users.example.com", "/api/userlist", "x=1", "n-1")
        yield (scheme, "", "demo", "", now, TOKEN, "", *where)  # anonymous, no app id
        yield (scheme, "zhangsan@example.cn", "demo", "1001", now, TOKEN, CHINESE + " (研发)", *where)
        yield (scheme, "a@x.com", "proj", "", now, TOKEN, "A", *where)  # no border moves: compare the next
        yield (scheme, "a@x.co", "mproj", "", now, TOKEN, "A", *where)
        yield (scheme, "a@x.com", "p1", "23", now, TOKEN, "A", *where)
        yield (scheme, "a@x.com", "p12", "3", now, TOKEN, "A", *where)
        yield (scheme, "dev@example.com", "demo", "1001", 1, TOKEN, "Dev", *where)
        yield (scheme, "dev@example.com", "demo", "1001", now, "密钥密钥密钥密钥密钥密钥密钥密钥密钥密钥密钥", "Dev", *where)
        yield (scheme, "dev@example.com", "demo", "1001", now, "y" * 256, "Dev", *where)


def drawn_bound(count):
    draw = random.Random(20260101)
    letters = "abcdefghijklmnopqrstuvwxyz0123456789-_."
    word = lambda alphabet, low, high: "".join(draw.choice(alphabet) for _ in range(draw.randint(low, high)))
    for _ in range(count):
        path = "".join("/" + word(letters + "%:@!$&'()*+,;=~", 0, 12) for _ in range(draw.randint(1, 4)))
        yield (draw.choice(BINDING), word(letters, 1, 20) + "@" + word(letters, 1, 20), word(letters, 1, 15),
               word("0123456789", 0, 6), draw.randint(1500000000000, 1900000000000), word(letters, 31, 64),
               word(letters + " ABCé张李王", 0, 12), draw.choice(["GET", "POST", "PUT", "DELETE"]),
               word("abcdefghij", 1, 10) + ".example.com", path, word(letters + "%&=+/?", 0, 20), word("0123456789abcdef", 32, 32))


def hand_picked():
    now = 1763740800000
    for scheme in SCHEMES:
        yield scheme, "dev@example.com", "demo", "1001", now, TOKEN, "Dev"
        yield scheme, "dev@example.com", "demo", "", now, TOKEN, "Dev"  # no app id
        yield scheme, "dev@example.com", "demo", "1001", now, None, "Dev"  # no token
        yield scheme, "dev@example.com", "demo", "1001", now, "", "Dev"  # an empty token is none
        yield scheme, "", "demo", "1001", now, TOKEN, ""  # anonymous
        yield scheme, "", "", "", 0, None, ""  # nothing at all: SHA-256 of "0"
        yield scheme, "zhangsan@example.cn", "demo", "1001", now, TOKEN, CHINESE
        yield scheme, "zhangsan@example.cn", "_demo", "1001", now, TOKEN, CHINESE + " (研发)"
        yield scheme, "dev@example.com", "项目", "1001", now, TOKEN, "Ünïcödé 😀"
        yield scheme, "dev@example.com", "demo", "1001", now, "密钥密钥密钥密钥密钥密钥密钥密钥", "a/b?c=d&e+f%20g"
        yield scheme, "dev@example.com", "demo", "1001", 1, TOKEN, "-._~"
        yield scheme, "dev@example.com", "demo", "1001", 9999999999999, TOKEN, "!\"#$%&'()*+,/:;<=>?@[\\]^`{|}"
        yield scheme, "dev@example.com", "demo", "1001", 18446744073709551615, TOKEN, "Dev"  # the largest stamp there is
        yield scheme, "dev@example.com", "demo", "1001", now, "x" * 31, "line\r\nend"
        yield scheme, "dev@example.com", "demo", "1001", now, "y" * 256, "tab\there"
        # One block of SHA-256 is 64 bytes; lengths around it have tripped implementations.
        for length in (55, 56, 63, 64, 65):
            fixed = len(base(scheme, "", "demo", "1001", now)) + 31
            yield scheme, "u" * (length - fixed) if length > fixed else "", "demo", "1001", now, TOKEN, "Dev"
    # The schemes' own weakness: two identities, one signature.
    yield "user-project-stamp", "a@x.com", "proj", "", now, TOKEN, "A"
    yield "user-project-stamp", "a@x.co", "mproj", "", now, TOKEN, "A"
    yield "user-project-appid-stamp", "a@x.com", "p1", "23", now, TOKEN, "A"
    yield "user-project-appid-stamp", "a@x.com", "p12", "3", now, TOKEN, "A"


def grid():
    users = ["a@x.com", "first.last+tag@sub.example.co.uk", "robot7"]
    projects = ["demo", "_p1"]
    app_ids = ["", "42"]
    tokens = [None, TOKEN, "correct horse battery staple, twice over"]
    for row in itertools.product(SCHEMES, users, projects, app_ids, tokens):
        scheme, user, project, app_id, token = row
        yield scheme, user, project, app_id, 1700000000123, token, "Name " + user


def drawn(count):
    draw = random.Random(20250101)
    letters = "abcdefghijklmnopqrstuvwxyz0123456789-_."
    names = letters + " ABCé张李王"
    word = lambda alphabet, low, high: "".join(draw.choice(alphabet) for _ in range(draw.randint(low, high)))
    for _ in range(count):
        user = word(letters, 1, 20) + "@" + word(letters, 1, 20)
        token = word(letters, 31, 64) if draw.random() < 0.8 else None
        yield (draw.choice(SCHEMES), user, word(letters, 1, 15), word("0123456789", 0, 6),
               draw.randint(1500000000000, 1900000000000), token, word(names, 0, 12))


def main():
    vectors = [vector(*row) for row in itertools.chain(hand_picked(), grid(), drawn(480))]
    vectors += [bound(*row) for row in itertools.chain(hand_picked_bound(), drawn_bound(400))]
    lines = ",\n".join("    " + json.dumps(v, ensure_ascii=True) for v in vectors)
    text = '{\n  "version": 1,\n  "vectors": [\n' + lines + "\n  ]\n}\n"
    pathlib.Path(__file__).with_name("sign.json").write_text(text, encoding="ascii")


if __name__ == "__main__":
    main()
