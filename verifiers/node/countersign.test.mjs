// node --test verifiers/node

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer, request as call } from "node:http";
import { test } from "node:test";

import { Refused, ReplayMemory, Verifier, express, keyId, koa, koaLocalCors, localCors, signature } from "./countersign.mjs";

// The largest stamp has more digits than a number of this language: it is read as text.
const text = readFileSync(new URL("../../tests/vectors/sign.json", import.meta.url), "utf8");
const vectors = JSON.parse(text.replace(/"stamp": ([0-9]+)/g, '"stamp": "$1"')).vectors;
const TOKEN = "0123456789abcdef0123456789abcde";
const NOW = 1763740800000;

function asRequest(vector) {
  const headers = ["x-kms-user", vector.user, "x-kms-username", vector.username_encoded, "x-kms-stamp", vector.stamp,
    "x-kms-appid", vector.app_id, "x-kms-project", vector.project];
  if (vector.scheme === "rfc9421") {
    headers.push("signature-input", vector.signature_input, "signature", vector.signature, "host", vector.authority);
  } else {
    headers.push("x-kms-sign", vector.sign);
  }
  return [vector.method ?? "GET", (vector.path ?? "/") + (vector.query ? `?${vector.query}` : ""), headers];
}

const verifierOf = (vector, changes = {}) =>
  new Verifier({ scheme: vector.scheme, tokens: vector.token, clock: () => Number(vector.stamp), ...changes });
const usable = (vector) => [...(vector.token ?? "")].length >= 31 && vector.stamp.length === 13;

test("every vector has this signature", () => {
  for (const vector of vectors) {
    const { user, project, app_id: appId, stamp, username_encoded: username, method, authority, path, query } = vector;
    const parameters = vector.signature_input?.slice("countersign=".length);
    const claims = { user, project, appId, stamp, username, method, authority, path, query, parameters };
    const expected = vector.sign ?? vector.signature.slice("countersign=:".length, -1);
    assert.equal(signature(vector.scheme, vector.token ?? "", claims), expected, JSON.stringify(vector));
  }
  assert.ok(vectors.length >= 1000);
});

test("every usable vector is accepted as a request", () => {
  const all = vectors.filter(usable);
  for (const vector of all) {
    const identity = verifierOf(vector, { project: vector.project, appId: vector.app_id }).verify(...asRequest(vector));
    assert.equal(identity.user, vector.user);
    assert.equal(identity.name, vector.username);
  }
  assert.ok(all.length > 700);
});

test("each flipped bit is refused", () => {
  const unsigned = { "user-stamp": ["username", "appid", "project"], "user-project-stamp": ["username", "appid"],
    "user-project-appid-stamp": ["username"] };
  for (const vector of vectors.filter(usable).filter((_, at) => at % 25 === 0)) {
    const [method, target, headers] = asRequest(vector);
    const verifier = verifierOf(vector);
    for (let at = 0; at < headers.length; at += 2) {
      const [name, value] = headers.slice(at, at + 2);
      if (unsigned[vector.scheme]?.some((one) => name === `x-kms-${one}`)) continue;
      for (let place = 0; place < value.length; place++) {
        for (let bit = 0; bit < 7; bit++) {
          const flipped = String.fromCharCode(value.charCodeAt(place) ^ (1 << bit));
          const changed = value.slice(0, place) + flipped + value.slice(place + 1);
          if (name === "host" && changed.toLowerCase() === value.toLowerCase()) continue;
          const wrong = [...headers.slice(0, at + 1), changed, ...headers.slice(at + 2)];
          assert.throws(() => verifier.verify(method, target, wrong), Refused, `${name}: ${changed}`);
        }
      }
    }
    if (vector.method) {
      assert.throws(() => verifier.verify(method === "PUT" ? "GET" : "PUT", target, headers), Refused);
      assert.throws(() => verifier.verify(method, `${target}x`, headers), Refused);
    }
  }
});

const plain = { scheme: "user-project-stamp", user: "dev@example.com", project: "demo", app_id: "1001", stamp: `${NOW}`,
  token: TOKEN, username_encoded: "Dev" };
plain.sign = signature(plain.scheme, TOKEN, { user: plain.user, project: "demo", appId: "1001", stamp: plain.stamp });

function refused(change, options) {
  assert.throws(() => verifierOf(plain, options).verify(...asRequest({ ...plain, ...change })), Refused, JSON.stringify(change));
}

test("what is not expected is refused", () => {
  for (const off of [-300_000, 0, 300_000]) verifierOf(plain, { clock: () => NOW + off }).verify(...asRequest(plain));
  for (const off of [-300_001, 300_001, NaN]) refused({}, { clock: () => NOW + off });
  refused({}, { project: "other" });
  refused({}, { appId: "1002" });
  refused({}, { tokens: ["another-token-0123456789abcdef0123"] });
  for (const sign of ["demo", "", plain.sign.toUpperCase()]) refused({ sign });
  for (const stamp of ["", "0", "176374080000", `0${NOW}`, `+${NOW}`.slice(0, 13)]) refused({ stamp });
  const [method, target, headers] = asRequest(plain);
  for (let at = 0; at < headers.length; at += 2) {
    const twice = [...headers, headers[at].toUpperCase(), "x"];
    const missing = [...headers.slice(0, at), ...headers.slice(at + 2)];
    for (const wrong of [twice, missing]) assert.throws(() => verifierOf(plain).verify(method, target, wrong), Refused);
  }
});

test("two tokens are valid while one is replaced, and short ones never", () => {
  const other = "another-token-0123456789abcdef0123";
  verifierOf(plain, { tokens: [other, TOKEN] }).verify(...asRequest(plain));
  assert.notEqual(keyId(other), keyId(TOKEN));
  assert.throws(() => verifierOf(plain, { tokens: "short" }), TypeError);
  assert.throws(() => verifierOf(plain, { tokens: [] }), TypeError);
});

test("a signature is accepted once if that is asked for", () => {
  const replay = new ReplayMemory(2);
  const verifier = verifierOf(plain, { replay });
  verifier.verify(...asRequest(plain));
  assert.throws(() => verifier.verify(...asRequest(plain)), Refused);
  assert.ok(replay.isNew("b", NOW + 1e6, NOW));
  assert.ok(!replay.isNew("c", NOW + 1e6, NOW), "full");
  assert.ok(replay.isNew("c", NOW + 1e9, NOW + 400_000), "what has expired is forgotten");
});

test("the demonstration signature needs a switch", () => {
  const demo = { ...plain, user: "demo@example.com", username_encoded: "demo", stamp: "0", sign: "demo" };
  assert.equal(verifierOf(plain, { demo: true }).verify(...asRequest(demo)).user, "demo@example.com");
});

async function answer(server, method, path, headers) {
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    return await new Promise((resolve, reject) => {
      const sent = call({ port: server.address().port, host: "127.0.0.1", method, path, headers }, (response) => {
        let body = "";
        response.on("data", (piece) => (body += piece)).on("end", () => resolve({ ...response, body, status: response.statusCode, fields: response.headers }));
      });
      sent.on("error", reject).end();
    });
  } finally {
    server.close();
  }
}

test("as express middleware, over a socket", async () => {
  const vector = vectors.find((one) => one.scheme === "hmac-sha256" && one.query && usable(one) && one.method === "GET");
  const middleware = express(verifierOf(vector));
  const server = () => createServer((request, response) => middleware(request, response, () => response.end(request.countersign.user)));
  const [method, target, headers] = asRequest(vector);
  const fields = Object.fromEntries(headers.flatMap((name, at) => (at % 2 ? [] : [[name, headers[at + 1]]])));
  const good = await answer(server(), method, target, fields);
  assert.deepEqual([good.status, good.body], [200, vector.user]);
  assert.equal((await answer(server(), method, `${target}x`, fields)).status, 401);
});

test("as koa middleware", async () => {
  const [method, originalUrl, rawHeaders] = asRequest(plain);
  const ctx = { method, originalUrl, req: { rawHeaders }, state: {} };
  let passed = 0;
  await koa(verifierOf(plain))(ctx, () => passed++);
  assert.deepEqual([passed, ctx.state.countersign.user], [1, plain.user]);
  await koa(verifierOf(plain, { project: "other" }))(ctx, () => passed++);
  assert.deepEqual([passed, ctx.status], [1, 401]);
});

test("CORS is off unless it is switched on", async () => {
  const origins = ["https://demo.example.com"];
  const ask = { origin: origins[0], "access-control-request-method": "GET" };
  const served = (options) => createServer((request, response) => localCors(options)(request, response, () => response.end("through")));
  assert.equal((await answer(served({ origins }), "OPTIONS", "/", ask)).body, "through");
  const allowed = await answer(served({ origins, enabled: true }), "OPTIONS", "/", ask);
  assert.deepEqual([allowed.status, allowed.fields["access-control-allow-origin"]], [204, origins[0]]);
  assert.match(allowed.fields["access-control-allow-headers"], /x-kms-sign/);
  const evil = await answer(served({ origins, enabled: true }), "OPTIONS", "/", { ...ask, origin: "https://evil.example" });
  assert.equal(evil.fields["access-control-allow-origin"], undefined);
  const set = {};
  const ctx = { req: { method: "GET", headers: ask }, set: (name, value) => (set[name] = value) };
  let passed = 0;
  koaLocalCors({ origins, enabled: true })(ctx, () => passed++);
  assert.deepEqual([passed, set["access-control-allow-origin"]], [1, origins[0]]);
});
