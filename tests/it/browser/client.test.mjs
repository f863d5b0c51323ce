// client.js in a browser made of stubs: which way a call goes, what it carries, and what is left behind. Run by `node --test`; CLIENT
// names the file, PATHS (if given) a list of [path, canonical form or null] that the edge's own router has made.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { beforeEach, test } from "node:test";

const SOURCE = readFileSync(process.env.CLIENT, "utf8");
const ROUTES = {
  project: "demo",
  app_id: "1001",
  environment: "production",
  routes: [
    { prefix: "/a0", mode: "api" },
    { prefix: "/a0", mode: "direct", target: "https://direct.test/d" },
    { prefix: "/a0/deep", mode: "direct", target: "https://direct.test/deeper/" },
    { prefix: "/b0", mode: "api" },
    { prefix: "/c0", mode: "direct", target: "https://direct.test" },
  ],
};
const SIGNATURE = {
  "x-kms-appid": "1001",
  "x-kms-project": "demo",
  "x-kms-sign": "demo",
  "x-kms-stamp": "0",
  "x-kms-user": "demo@example.com",
  "x-kms-username": "demo",
};

let page;
let instances = 0;

/** A page at http://demo.test/app/ whose edge answers like that. */
const browser = () => {
  const state = { sent: [], uploads: [], elements: [], storage: new Map(), routes: ROUTES, answer: () => new Response("ok"), asked: 0 };
  const element = (tag) => ({
    tag,
    clicks: 0,
    click() { this.clicks += 1; },
    remove() { state.elements = state.elements.filter((one) => one !== this); },
  });
  const parent = { append: (child) => { state.elements.push(child); state.appended?.(child); } };
  globalThis.location = new URL("http://demo.test/app/index.html");
  globalThis.document = { baseURI: "http://demo.test/app/index.html", createElement: element, head: parent, body: parent };
  globalThis.localStorage = {
    getItem: (key) => state.storage.get(key) ?? null,
    setItem: (key, value) => state.storage.set(key, String(value)),
  };
  globalThis.fetch = async (input, init) => {
    if (String(input).endsWith("/.countersign/routes.json")) {
      state.asked += 1;
      return state.routes instanceof Error ? Promise.reject(state.routes) : Response.json(state.routes, { status: state.routes.status ?? 200 });
    }
    state.sent.push({ input, init });
    return state.answer(input, init);
  };
  globalThis.XMLHttpRequest = class {
    upload = {};
    fields = {};
    open(method, url) { Object.assign(this, { method, url }); }
    setRequestHeader(name, value) { this.fields[name] = value; }
    send(body) { this.body = body; state.uploads.push(this); state.sending?.(this); }
    abort() { this.onabort(); }
    getAllResponseHeaders() { return "content-type: text/plain\r\nx-seen: a:b\r\n"; }
    succeed(status, text) { Object.assign(this, { status, statusText: "Fine", response: new Blob([text]), responseURL: this.url }); this.onload(); }
  };
  globalThis.console.warn = () => {};
  return state;
};

/** A new instance of the module, as a new page has it. */
const load = async () => (await import(`data:text/javascript,${encodeURIComponent(SOURCE)}//${++instances}`)).countersign;

const headersOf = (init) => Object.fromEntries(new Headers(init?.headers));

beforeEach(() => { page = browser(); });

test("local goes before direct, direct before api, each by its own longest prefix", async () => {
  const countersign = await load();
  const ways = (path) => countersign.url(path);
  assert.equal(ways("/b0/x"), "http://demo.test/b0/x");
  assert.equal(ways("/a0/x?y=1#z"), "https://direct.test/d/x?y=1#z");
  assert.equal(ways("/a0/deep/x"), "https://direct.test/deeper/x");
  assert.equal(ways("/a0/deeper"), "https://direct.test/d/deeper");
  assert.equal(ways("/c0"), "https://direct.test/");
  countersign.local.set("/a0", "http://localhost:3000/api");
  assert.equal(ways("/a0/x"), "https://direct.test/d/x", "not before it is on");
  countersign.local.enable();
  assert.equal(ways("/a0/x"), "http://localhost:3000/api/x");
  assert.equal(ways("/a0/deep/x"), "http://localhost:3000/api/deep/x", "a longer direct prefix does not win");
  assert.equal(ways("/a0x/y"), "http://demo.test/a0x/y", "whole segments");
  assert.equal(ways("/b0/x"), "http://demo.test/b0/x");
  countersign.local.disable();
  assert.equal(ways("/a0/x"), "https://direct.test/d/x");
});

test("addresses are resolved as the page resolves them", async () => {
  const countersign = await load();
  countersign.local.set("/a0", "http://localhost:3000/api");
  countersign.local.set("/app", "http://localhost:4000");
  countersign.local.enable();
  for (const [path, expected] of [
    ["x", "http://localhost:4000/x"],
    ["../a0/x", "http://localhost:3000/api/x"],
    ["/b0/../a0/x", "http://localhost:3000/api/x"],
    ["/b0/%2e%2E/a0/x", "http://localhost:3000/api/x"],
    ["http://demo.test/a0", "http://localhost:3000/api"],
    ["http://DEMO.test:80/a0/", "http://localhost:3000/api/"],
    [new URL("http://demo.test/a0/x"), "http://localhost:3000/api/x"],
    ["/%610/%78?%61=%62", "http://localhost:3000/api/%78?%61=%62"],
    ["/a0/ü", "http://localhost:3000/api/%C3%BC"],
    ["//other.test/a0/x", "http://other.test/a0/x"],
    ["https://demo.test/a0/x", "https://demo.test/a0/x"],
    ["http://demo.test:8080/a0/x", "http://demo.test:8080/a0/x"],
    ["data:text/plain,/a0/x", "data:text/plain,/a0/x"],
    // The edge answers these with 400.
    ["/a0//x", "http://demo.test/a0//x"],
    ["/a0%2fx", "http://demo.test/a0%2fx"],
    ["/a0/%5cx", "http://demo.test/a0/%5cx"],
    ["/a0/..;/x", "http://demo.test/a0/..;/x"],
    ["/a0/%252e%252e/x", "http://demo.test/a0/%252e%252e/x"],
    // The edge's own.
    ["/.countersign/local", "http://demo.test/.countersign/local"],
  ]) assert.equal(countersign.url(path), expected, String(path));
  countersign.local.set("/", "http://localhost:5000");
  assert.equal(countersign.url("/.countersign/local"), "http://demo.test/.countersign/local");
  assert.equal(countersign.url("/"), "http://localhost:5000/");
  assert.equal(countersign.url("/q"), "http://localhost:5000/q");
});

test("paths are read as the edge's router reads them", { skip: !process.env.PATHS }, async () => {
  const countersign = await load();
  countersign.local.enable();
  const differing = [];
  for (const [path, canonical] of JSON.parse(readFileSync(process.env.PATHS, "utf8"))) {
    // What cannot be a prefix is no path either; a prefix of its own finds it in its one spelling.
    let known = null;
    try {
      countersign.local.set(path, "http://localhost");
      [{ prefix: known }] = countersign.local.routes();
      countersign.local.remove(known);
    } catch { /* refused */ }
    if (known !== canonical) differing.push([path, canonical, known]);
  }
  assert.deepEqual(differing, []);
});

test("what is there is what the types say", { skip: !process.env.TYPES }, async () => {
  const types = readFileSync(process.env.TYPES, "utf8");
  const declared = (name) => {
    const body = new RegExp(`export interface ${name} \\{([^]*?)\n\\}`).exec(types)[1];
    return [...body.matchAll(/^  (?:readonly )?(\w+)[<(:]/gm)].map(([, member]) => member).sort();
  };
  const countersign = await load();
  assert.deepEqual(Object.keys(countersign).sort(), declared("Countersign"));
  assert.deepEqual(Object.keys(countersign.local).sort(), declared("Local"));
  assert.ok(Object.isFrozen(countersign) && Object.isFrozen(countersign.local));
});

test("fetch: api untouched, direct unsigned, local with the demonstration signature", async () => {
  const countersign = await load();
  const init = { method: "POST", headers: { a: "b" }, body: "x" };
  await countersign.fetch("/b0/x", init);
  assert.equal(page.sent[0].input, "/b0/x");
  assert.equal(page.sent[0].init, init);
  await countersign.fetch("/a0/x", init);
  assert.equal(page.sent[1].input, "https://direct.test/d/x");
  assert.deepEqual(headersOf(page.sent[1].init), { a: "b" });
  countersign.local.set("/a0", "http://localhost:3000/api");
  countersign.local.enable();
  await countersign.fetch("/a0/x", { ...init, headers: { a: "b", "X-KMS-User": "somebody" } });
  assert.equal(page.sent[2].input, "http://localhost:3000/api/x");
  assert.deepEqual(headersOf(page.sent[2].init), { a: "b", ...SIGNATURE });
  assert.equal(page.sent[2].init.body, "x");
  await countersign.fetch("https://other.test/a0/x", init);
  assert.deepEqual(page.sent[3], { input: "https://other.test/a0/x", init });
  assert.deepEqual(init.headers, { a: "b" }, "what the caller gave is the caller's");
});

test("fetch: a Request keeps what it is, body included", async () => {
  const countersign = await load();
  countersign.local.set("/a0", "http://localhost:3000/api");
  countersign.local.enable();
  const request = new Request("http://demo.test/a0/x", {
    method: "PUT", body: "whole", credentials: "include", redirect: "error", headers: { "x-own": "1" },
  });
  await countersign.fetch(request);
  const { input, init } = page.sent[0];
  assert.equal(input, "http://localhost:3000/api/x");
  assert.deepEqual([init.method, init.credentials, init.redirect], ["PUT", "include", "error"]);
  assert.equal(new TextDecoder().decode(init.body), "whole");
  assert.deepEqual(headersOf(init), { "content-type": "text/plain;charset=UTF-8", "x-own": "1", ...SIGNATURE });
  await countersign.fetch(new Request("http://demo.test/a0/x", { headers: { "x-own": "1" } }), { headers: { "x-new": "2" } });
  assert.deepEqual(headersOf(page.sent[1].init), { "x-new": "2", ...SIGNATURE }, "the second argument replaces fields, as fetch's does");
  assert.equal(page.sent[1].init.body, undefined);
  const untouched = new Request("http://demo.test/b0/x", { method: "POST", body: "stays" });
  await countersign.fetch(untouched);
  assert.equal(page.sent[2].input, untouched);
  assert.equal(untouched.bodyUsed, false);
});

test("a project with its own prefix has its own demonstration signature", async () => {
  page.routes = { ...ROUTES, app_id: "", header_prefix: "x-our-" };
  const countersign = await load();
  countersign.local.set("/a0", "http://localhost:3000/api");
  countersign.local.enable();
  await countersign.fetch("/a0/x");
  const fields = headersOf(page.sent[0].init);
  assert.deepEqual(Object.keys(fields).filter((name) => name.startsWith("x-kms-")), []);
  assert.deepEqual([fields["x-our-user"], fields["x-our-appid"], fields["x-our-sign"]], ["demo@example.com", "", "demo"]);
});

test("upload: progress, answer, signature in local alone", async () => {
  const countersign = await load();
  const seen = [];
  page.sending = (xhr) => {
    xhr.upload.onprogress?.({ loaded: 1, total: 2, lengthComputable: true });
    xhr.succeed(201, "stored");
  };
  const answer = await countersign.upload("/b0/x", new Blob(["ab"]), { headers: { a: "b" }, onprogress: (event) => seen.push(event.loaded) });
  assert.deepEqual([answer.status, answer.statusText, answer.ok, answer.url], [201, "Fine", true, "http://demo.test/b0/x"]);
  assert.equal(answer.headers.get("x-seen"), "a:b");
  assert.equal(await answer.text(), "stored");
  assert.deepEqual(seen, [1]);
  assert.deepEqual(page.uploads[0].fields, { a: "b" });
  assert.equal(page.uploads[0].method, "POST");
  await countersign.upload("/a0/x", new Blob(["ab"]), { method: "PUT" });
  assert.deepEqual([page.uploads[1].method, page.uploads[1].url, page.uploads[1].fields], ["PUT", "https://direct.test/d/x", {}]);
  assert.equal(page.uploads[1].upload.onprogress, undefined, "a listener would ask for a preflight");
  countersign.local.set("/a0", "http://localhost:3000");
  countersign.local.enable();
  page.sending = (xhr) => xhr.succeed(204, "");
  const empty = await countersign.upload("/a0/x", new FormData());
  assert.deepEqual([empty.status, await empty.text()], [204, ""]);
  assert.deepEqual(page.uploads[2].fields, SIGNATURE);
});

test("upload: what fails rejects as fetch does, and a signal ends it", async () => {
  const countersign = await load();
  page.sending = (xhr) => xhr.onerror();
  await assert.rejects(countersign.upload("/b0/x", "body"), TypeError);
  const controller = new AbortController();
  page.sending = () => controller.abort();
  await assert.rejects(countersign.upload("/b0/x", "body", { signal: controller.signal }), { name: "AbortError" });
  await assert.rejects(countersign.upload("/b0/x", "body", { signal: AbortSignal.abort(new RangeError("mine")) }), RangeError);
  assert.equal(page.uploads.length, 2, "nothing is sent for a signal that has fired");
});

const globals = () => Object.keys(globalThis).filter((name) => name.startsWith("countersign_"));

test("jsonp: the value, and nothing stays", async () => {
  const countersign = await load();
  page.appended = (script) => {
    const name = new URL(script.src).searchParams.get("cb");
    globalThis[name]({ answer: 42 });
    setTimeout(() => script.onload());
  };
  assert.deepEqual(await countersign.jsonp("/a0/x?y=%20", { callback: "cb" }), { answer: 42 });
  assert.deepEqual(page.elements, []);
  await new Promise((done) => setTimeout(done));
  assert.deepEqual(globals(), []);
  let address;
  page.appended = (script) => { address = script.src; script.onerror(); };
  await assert.rejects(countersign.jsonp("/a0/x?y=%20"), TypeError);
  assert.match(address, /^https:\/\/direct\.test\/d\/x\?y=%20&callback=countersign_\w+$/, "the rest of the query stays as it is");
  assert.deepEqual([page.elements, globals()], [[], []]);
  page.appended = (script) => script.onload();
  await assert.rejects(countersign.jsonp("/b0/x"), /did not call/);
  assert.deepEqual([page.elements, globals()], [[], []]);
});

test("jsonp: what comes too late finds nobody and does no harm", async () => {
  const countersign = await load();
  let script;
  page.appended = (element) => { script = element; };
  await assert.rejects(countersign.jsonp("/b0/x", { timeout: 1 }), { name: "TimeoutError" });
  assert.deepEqual(page.elements, []);
  const [name] = globals();
  globalThis[name]("late");
  script.onload();
  assert.deepEqual(globals(), []);
  const controller = new AbortController();
  page.appended = (element) => { script = element; controller.abort(); };
  await assert.rejects(countersign.jsonp("/b0/x", { signal: controller.signal }), { name: "AbortError" });
  script.onerror();
  assert.deepEqual([page.elements, globals()], [[], []]);
});

test("script and download carry nothing and go the same ways", async () => {
  const countersign = await load();
  countersign.local.set("/a0", "http://localhost:3000/api");
  countersign.local.enable();
  const seen = [];
  page.appended = (element) => { seen.push(element); element.onload?.(); };
  assert.equal(await countersign.script("/a0/lib.js"), undefined);
  await countersign.download("/a0/file?x", { filename: "mine.txt" });
  await countersign.download("/b0/file");
  const [script, foreign, own] = seen;
  assert.equal(script.src, "http://localhost:3000/api/lib.js");
  assert.deepEqual([foreign.href, foreign.download, foreign.target, foreign.rel, foreign.clicks], ["http://localhost:3000/api/file?x", "mine.txt", "_blank", "noopener", 1]);
  assert.deepEqual([own.href, own.download, own.target, own.clicks], ["http://demo.test/b0/file", "", undefined, 1]);
  assert.deepEqual(page.elements, [script], "links are taken away");
  page.appended = (element) => element.onerror();
  await assert.rejects(countersign.script("/a0/lib.js"), TypeError);
  assert.deepEqual(page.elements, [script]);
});

test("local: only what can be one is kept, and by this browser alone", async () => {
  const countersign = await load();
  const { local } = countersign;
  for (const prefix of ["a0", "", "/a?b", "/a#b", "/a//b", "/a/../b", "/%2f", "/%zz", "/.countersign", "/.countersign/x"]) {
    assert.throws(() => local.set(prefix, "http://localhost"), { name: "TypeError", cause: "prefix" }, prefix);
  }
  for (const target of ["localhost:3000", "/api", "", "ftp://localhost", "javascript:alert(1)", "http://me@localhost", "http://localhost/?x", "http://localhost/#x", "http://"]) {
    assert.throws(() => local.set("/a0", target), { name: "TypeError", cause: "target" }, target);
  }
  assert.deepEqual([local.routes(), local.enabled], [[], false]);
  local.set("/a%30/", " http://localhost:3000/api ");
  local.set("/", new URL("https://localhost/"));
  const routes = [
    { prefix: "/a0", mode: "local", target: "http://localhost:3000/api" },
    { prefix: "/", mode: "local", target: "https://localhost/" },
  ];
  assert.deepEqual(local.routes(), routes);
  local.enable();
  const other = await load();
  assert.deepEqual([other.local.enabled, other.local.routes()], [true, routes], "another page of the same browser");
  other.local.remove("/a0/");
  other.local.disable();
  assert.deepEqual([local.enabled, local.routes().length], [false, 1]);
});

test("local: a storage that is closed or full of nonsense is as if it were empty", async () => {
  const countersign = await load();
  for (const nonsense of ["{", "null", "1", '"x"', '{"on":1,"routes":7}', '{"on":true,"routes":{"/a0":"javascript:alert(1)","/b0":null}}']) {
    page.storage.set("countersign.local", nonsense);
    assert.deepEqual(countersign.local.routes(), [], nonsense);
    assert.equal(countersign.url("/b0/x"), "http://demo.test/b0/x");
  }
  Object.defineProperty(globalThis, "localStorage", { configurable: true, get: () => { throw new Error("closed"); } });
  assert.equal(countersign.local.enabled, false);
  assert.equal(countersign.url("/a0/x"), "https://direct.test/d/x");
  assert.throws(() => countersign.local.enable(), /closed/);
  Object.defineProperty(globalThis, "localStorage", { configurable: true, writable: true, value: undefined });
});

test("routes.json is asked for once, again when told, and after an error", async () => {
  const countersign = await load();
  await countersign.fetch("/a0/x");
  await countersign.fetch("/b0/x");
  assert.equal(page.asked, 1);
  page.routes = { ...ROUTES, routes: [] };
  await countersign.refresh();
  assert.deepEqual([page.asked, countersign.url("/a0/x")], [2, "http://demo.test/a0/x"]);
  page.routes = ROUTES;
  page.answer = () => { throw new TypeError("Failed to fetch"); };
  await assert.rejects(countersign.fetch("/a0/x"), { name: "TypeError", message: "Failed to fetch" });
  page.answer = () => new Response("ok");
  await countersign.fetch("/a0/x");
  assert.deepEqual([page.asked, page.sent.at(-1).input], [3, "https://direct.test/d/x"]);
  page.answer = () => { throw new DOMException("ended", "AbortError"); };
  await assert.rejects(countersign.fetch("/a0/x"), { name: "AbortError" });
  page.answer = () => new Response("ok");
  await countersign.fetch("/a0/x");
  assert.equal(page.asked, 3, "who ends his own call has learnt nothing");
});

test("without routes.json nothing is guessed", async () => {
  page.routes = new TypeError("Failed to fetch");
  const countersign = await load();
  await assert.rejects(countersign.fetch("/a0/x"), { message: "Failed to fetch" });
  assert.throws(() => countersign.url("/a0/x"), /refresh/);
  assert.equal(countersign.url("https://other.test/x"), "https://other.test/x");
  assert.deepEqual(page.sent, []);
  page.routes = { status: 404 };
  await assert.rejects(countersign.fetch("/a0/x"), /answered 404/);
  page.routes = ROUTES;
  await countersign.fetch("/a0/x");
  assert.equal(page.sent[0].input, "https://direct.test/d/x");
  page.routes = new TypeError("Failed to fetch");
  await assert.rejects(countersign.refresh());
  await countersign.fetch("/a0/y");
  assert.equal(page.sent[1].input, "https://direct.test/d/y", "what is known stays known");
});
