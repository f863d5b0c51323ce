#!/usr/bin/env python3
"""Checks sign.json with nothing but Python's standard library. Exit 0: every vector holds. Shares no code with the signer."""

import hashlib
import json
import pathlib
import sys
import urllib.parse


def expected(vector):
    digest = hashlib.sha256()
    digest.update(vector["user"].encode("utf-8"))
    if vector["scheme"] in ("user-project-stamp", "user-project-appid-stamp"):
        digest.update(vector["project"].encode("utf-8"))
    if vector["scheme"] == "user-project-appid-stamp":
        digest.update(vector["app_id"].encode("utf-8"))
    digest.update(b"%d" % vector["stamp"])
    if vector["token"] is not None:
        digest.update(vector["token"].encode("utf-8"))
    return digest.hexdigest()


def problems(vector):
    if vector["scheme"] not in ("user-stamp", "user-project-stamp", "user-project-appid-stamp"):
        yield "unknown scheme"
    if vector["sign"] != expected(vector):
        yield "the signature differs"
    if urllib.parse.unquote(vector["username_encoded"], errors="strict") != vector["username"]:
        yield "the encoded name does not decode to the name"
    if vector["user"] != vector["user"].lower():
        yield "the user is not in lower case"


def main():
    path = pathlib.Path(__file__).with_name("sign.json")
    vectors = json.loads(path.read_text(encoding="utf-8"))["vectors"]
    failures = [(number, problem) for number, vector in enumerate(vectors) for problem in problems(vector)]
    for number, problem in failures:
        print(f"vector {number}: {problem}: {vectors[number]}")
    print(f"{len(vectors)} vectors, {len(failures)} failures")
    return 1 if failures or not vectors else 0


if __name__ == "__main__":
    sys.exit(main())
