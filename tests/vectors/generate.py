#!/usr/bin/env python3
"""Writes sign.json. Hand-picked cases first, then a grid and a few from a fixed seed; running it again changes nothing."""

import hashlib
import itertools
import json
import pathlib
import random
from urllib.parse import quote

SCHEMES = ["user-stamp", "user-project-stamp", "user-project-appid-stamp"]
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
    vectors = [vector(*row) for row in itertools.chain(hand_picked(), grid(), drawn(50))]
    lines = ",\n".join("    " + json.dumps(v, ensure_ascii=True) for v in vectors)
    text = '{\n  "version": 1,\n  "vectors": [\n' + lines + "\n  ]\n}\n"
    pathlib.Path(__file__).with_name("sign.json").write_text(text, encoding="ascii")


if __name__ == "__main__":
    main()
