/**
 * Countersign in the browser: one prefix, three ways to its upstream, Local before Direct before API.
 * Local: this browser alone, to a developer's server; `fetch` and `upload` with the demonstration signature.
 * Direct: to the target that routes.json names, never signed. API: to the edge, which signs. Types: client.d.ts.
 */
// @ts-self-types="./client.d.ts"

const OWN = "/.countersign";
const KEY = "countersign.local";

// --- Paths, as the edge's router reads them ---

const DOT = "(?:\\.|%(?:25)*(?:2e|c0%ae|e0%80%ae))";
const SEMICOLON = "(?:;|%(?:25)*3b)";
const SLASH = "%(?:25)*(?:2f|5c|c0%af|c1%9c|e0%80%af)";
/** Empty segments and dot segments, hidden ones too. */
const AMBIGUOUS = new RegExp(
  `/(?:${SEMICOLON}[^/]*)?/|(?:/|${SLASH})${DOT}{1,2}(?:$|/|${SEMICOLON}|${SLASH})`, "i");

/** One character or escape in its one spelling. */
const spell = (unit) => {
  const escaped = unit[0] === "%";
  const char = escaped ? String.fromCharCode(`0x${unit.slice(1)}`) : unit;
  if (/^[\w\-.~!$&'()*+,;=:@/]$/.test(char)) return char;
  return escaped ? unit.toUpperCase() : encodeURIComponent(unit);
};

/** A path in its one spelling; undefined where the edge answers 400. */
const canonical = (path) => {
  if (path[0] !== "/" || /%(?![\da-f]{2})|%(?:2f|5c|00)|\\/i.test(path)) return undefined;
  const spelt = path.replace(/%..|[^%]/gsu, spell);
  return AMBIGUOUS.test(spelt) ? undefined : spelt;
};

/** Whole segments. */
const covers = (prefix, path) => prefix === "/" || path === prefix || path.startsWith(`${prefix}/`);

/** What of a path follows a prefix, byte for byte. */
const restOf = (path, prefix) => {
  let rest = path;
  for (let left = prefix === "/" ? 0 : prefix.length; left > 0;) {
    const unit = rest[0] === "%" ? rest.slice(0, 3) : rest[0];
    left -= spell(unit).length;
    rest = rest.slice(unit.length);
  }
  return rest;
};

/** The target's path in place of the prefix. */
const at = ({ prefix, target }, url) => {
  const { origin, pathname } = new URL(target);
  const rest = restOf(url.pathname, prefix);
  return origin + (rest ? pathname.replace(/\/$/, "") + rest : pathname) + url.search + url.hash;
};

// --- Local: this browser's own routes ---

const read = () => {
  try {
    return JSON.parse(localStorage.getItem(KEY)) ?? {};
  } catch {
    return {};
  }
};

const change = (edit) => {
  const { on, routes } = read();
  const state = { on: on === true, routes: { ...routes } };
  edit(state);
  localStorage.setItem(KEY, JSON.stringify(state));
};

const prefixOf = (text) => {
  const prefix = /[?#]/.test(text) ? undefined : canonical(text.replace(/(?!^)\/+$/, ""));
  if (prefix && !covers(OWN, prefix)) return prefix;
  throw new TypeError(`countersign: not a prefix: ${text}`, { cause: "prefix" });
};

const checkTarget = (text) => {
  const url = URL.canParse(text) ? new URL(text) : {};
  const more = url.username || url.password || /[?#]/.test(text);
  if (/^https?:$/.test(url.protocol) && !more && canonical(url.pathname)) return text;
  throw new TypeError(`countersign: not a target such as http://localhost:3000/api: ${text}`, { cause: "target" });
};

const local = Object.freeze({
  get enabled() {
    return read().on === true;
  },
  enable: () => change((state) => (state.on = true)),
  disable: () => change((state) => (state.on = false)),
  set: (prefix, target) => change(({ routes }) => (routes[prefixOf(prefix)] = checkTarget(String(target).trim()))),
  remove: (prefix) => change(({ routes }) => delete routes[prefixOf(prefix)]),
  routes: () => Object.entries(read().routes ?? {})
    .filter(([, target]) => /^https?:\/\//i.test(target))
    .map(([prefix, target]) => ({ prefix, mode: "local", target })),
});

// --- What the edge says ---

let told, loading, loadedAt;
let doubtful = false;

/** Reads routes.json; one request at a time. */
const refresh = () => (loading ??= (async () => {
  const file = `${location.origin}${OWN}/routes.json`;
  const response = await fetch(file, { cache: "no-store", signal: AbortSignal.timeout(10_000) });
  if (!response.ok) throw new TypeError(`countersign: routes.json answered ${response.status}`);
  told = await response.json();
  [doubtful, loadedAt] = [false, Date.now()];
  return told;
})().finally(() => (loading = undefined)));

/** What is known, read again if an error has made it doubtful. */
const known = async () => (told && !doubtful ? told : refresh().catch((error) => told ?? Promise.reject(error)));

/** After a failure: the routes may be others by now. */
const doubt = (error) => {
  doubtful ||= error?.name !== "AbortError";
  throw error;
};

let warned = false;

const locate = (input) => {
  const url = new URL(input.url ?? input, globalThis.document?.baseURI ?? location.href);
  const path = url.origin === location.origin ? canonical(url.pathname) : undefined;
  return { url, path: path && covers(OWN, path) ? undefined : path };
};

const choose = ({ url, path }, direct) => {
  const longest = (routes) => routes.filter(({ prefix }) => covers(prefix, path))
    .reduce((best, one) => (best && best.prefix.length > one.prefix.length ? best : one), undefined);
  // Another origin's, the edge's own, or for the edge to refuse.
  if (!path) return { mode: "api", href: url.href };
  const mine = local.enabled && longest(local.routes());
  if (mine && !warned) {
    warned = true;
    console.warn(`Countersign: local debugging is on in this browser (${mine.prefix} -> ${mine.target}); see ${OWN}/local`);
  }
  const way = mine || longest(direct());
  return way ? { mode: way.mode, href: at(way, url) } : { mode: "api", href: url.href };
};

const directOf = (document) => document.routes.filter(({ mode }) => mode === "direct");

const find = async (input) => {
  const place = locate(input);
  const routes = place.path && directOf(await known());
  return choose(place, () => routes);
};

/** The caller's fields, and in Local the demonstration signature, which no upstream accepts. */
const fieldsFor = ({ mode }, given) => {
  const fields = new Headers(given);
  if (mode !== "local") return fields;
  const { project, app_id: appid, header_prefix: family = "x-kms-" } = told;
  const claims = { user: "demo@example.com", username: "demo", stamp: "0", appid, project, sign: "demo" };
  for (const [name, value] of Object.entries(claims)) fields.set(family + name, value);
  return fields;
};

const KEPT = "method headers credentials cache redirect referrer referrerPolicy integrity keepalive signal mode".split(" ");

/** A Request as fetch's second argument, for another address. */
const initOf = async (request, init) => {
  const bodiless = init?.body !== undefined || /^(?:GET|HEAD)$/.test(request.method);
  const body = bodiless ? undefined : await request.arrayBuffer();
  return { ...Object.fromEntries(KEPT.map((key) => [key, request[key]])), ...(body?.byteLength && { body }), ...init };
};

const responseOf = (xhr) => {
  const lines = xhr.getAllResponseHeaders().split("\r\n").filter(Boolean);
  const headers = lines.map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()]);
  const body = [204, 205, 304].includes(xhr.status) ? null : xhr.response;
  const response = new Response(body, { status: xhr.status, statusText: xhr.statusText, headers });
  return Object.defineProperty(response, "url", { value: xhr.responseURL });
};

const load = (element, href) => new Promise((resolve, reject) => {
  element.onload = () => resolve();
  element.onerror = () => reject(new TypeError(`countersign: the script cannot be loaded: ${href}`));
  element.src = href;
  document.head.append(element);
});

let calls = 0;

export const countersign = Object.freeze({
  local,
  refresh,

  async fetch(input, init) {
    const way = await find(input);
    if (way.mode === "api") {
      const response = await fetch(input, init).catch(doubt);
      // The prefix may have become a direct one.
      if (response.status === 404 && Date.now() - loadedAt > 5_000) doubtful = true;
      return response;
    }
    const sent = input instanceof Request ? await initOf(input, init) : { ...init };
    return fetch(way.href, { ...sent, headers: fieldsFor(way, sent.headers) }).catch(doubt);
  },

  async upload(path, body, { method = "POST", headers, credentials, signal, onprogress } = {}) {
    const way = await find(path);
    signal?.throwIfAborted();
    const xhr = new XMLHttpRequest();
    const abort = () => xhr.abort();
    return new Promise((resolve, reject) => {
      xhr.open(method, way.href);
      xhr.responseType = "blob";
      xhr.withCredentials = credentials === "include";
      fieldsFor(way, headers).forEach((value, name) => xhr.setRequestHeader(name, value));
      if (onprogress) xhr.upload.onprogress = onprogress;
      xhr.onload = () => resolve(responseOf(xhr));
      xhr.onerror = () => reject(new TypeError(`countersign: the upload failed: ${way.href}`));
      xhr.onabort = () => reject(signal.reason);
      signal?.addEventListener("abort", abort);
      xhr.send(body);
    }).catch(doubt).finally(() => signal?.removeEventListener("abort", abort));
  },

  async jsonp(path, { callback = "callback", timeout = 30_000, signal } = {}) {
    const { href } = await find(path);
    signal?.throwIfAborted();
    const url = new URL(href);
    const name = `countersign_${Date.now().toString(36)}_${++calls}`;
    url.search += `${url.search ? "&" : "?"}${encodeURIComponent(callback)}=${name}`;
    const element = document.createElement("script");
    let through = false, timer;
    try {
      return await new Promise((resolve, reject) => {
        globalThis[name] = resolve;
        timer = setTimeout(() => reject(new DOMException(`countersign: no answer from ${href}`, "TimeoutError")), timeout);
        signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
        load(element, url.href).finally(() => (through = true))
          .then(() => Promise.reject(new TypeError(`countersign: the script did not call ${name}: ${href}`)))
          .catch(reject);
      }).catch(doubt);
    } finally {
      clearTimeout(timer);
      element.remove();
      // What comes too late finds somebody who does nothing.
      globalThis[name] = () => {};
      element.onload = element.onerror = () => delete globalThis[name];
      if (through) delete globalThis[name];
    }
  },

  async script(path) {
    const { href } = await find(path);
    const element = document.createElement("script");
    await load(element, href).catch((error) => {
      element.remove();
      return doubt(error);
    });
  },

  async download(path, { filename = "" } = {}) {
    const { href } = await find(path);
    const link = Object.assign(document.createElement("a"), { href, download: filename });
    // Of another origin it may turn out to be a page, which must not take this one's place.
    if (new URL(href).origin !== location.origin) Object.assign(link, { target: "_blank", rel: "noopener" });
    document.body.append(link);
    link.click();
    link.remove();
  },

  url(path) {
    return choose(locate(path), () => {
      if (told) return directOf(told);
      throw new Error("countersign: routes.json could not be read; await countersign.refresh()");
    }).href;
  },
});

export default countersign;

// So that url() has its answer at once. A failure is the first call's to tell.
await refresh().catch(() => {});
