#!/usr/bin/env python3
"""Checks sign.json with nothing but Python's standard library. Exit 0: every vector holds. Shares no code with the signer."""

import base64
import hashlib
import hmac
import json
import re
import pathlib
import sys
import urllib.parse


def length_prefixed(*values):
    return b"".join(b"%d:%s\n" % (len(value), value) for value in (value.encode("utf-8") for value in values))


def expected_hmac(vector):
    text = b"countersign-hmac-sha256-1\n" + length_prefixed(
        vector["method"], vector["path"], vector["query"], vector["user"], vector["username_encoded"],
        vector["project"], vector["app_id"], str(vector["stamp"]))
    return hmac.digest(vector["token"].encode("utf-8"), text, "sha256").hex()


def expected_message(vector):
    """The signature of RFC 9421 over what `signature-input` lists."""
    listed, parameters = re.fullmatch(r"countersign=(\(([^)]*)\).*)", vector["signature_input"]).group(2, 1)
    values = {
        "@method": vector["method"], "@authority": vector["authority"], "@path": vector["path"],
        "@query": "?" + vector["query"], "x-kms-user": vector["user"], "x-kms-username": vector["username_encoded"],
        "x-kms-stamp": str(vector["stamp"]), "x-kms-appid": vector["app_id"], "x-kms-project": vector["project"],
    }
    names = [name.strip('"') for name in listed.split(" ")]
    if sorted(names) != sorted(values):
        return "not everything is listed"
    lines = [f'"{name}": {values[name]}' for name in names] + [f'"@signature-params": {parameters}']
    mac = hmac.digest(vector["token"].encode("utf-8"), "\n".join(lines).encode("utf-8"), "sha256")
    return "countersign=:" + base64.b64encode(mac).decode("ascii") + ":"


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
    if vector["scheme"] == "rfc9421":
        if vector["signature"] != expected_message(vector):
            yield "the message signature differs"
    elif vector["scheme"] == "hmac-sha256":
        if vector["sign"] != expected_hmac(vector):
            yield "the HMAC differs"
    elif vector["scheme"] not in ("user-stamp", "user-project-stamp", "user-project-appid-stamp"):
        yield "unknown scheme"
    elif vector["sign"] != expected(vector):
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
