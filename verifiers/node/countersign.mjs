/**
 * Verifies the requests that Countersign signs. One file, Node 18 or later, no dependency: copy it.
 *
 *     const verifier = new Verifier({ scheme: "user-project-stamp", tokens: [process.env.SIGN_TOKEN], project: "demo" });
 *     app.use(express(verifier));     // request.countersign is the identity
 *     app.use(koa(verifier));         // ctx.state.countersign
 *     const identity = verifier.verify("GET", "/api/userlist?x=1", rawHeaders);     // throws Refused
 *
 * What is checked, in this order: each header exactly once; the demonstration signature is refused; the user in lower-case
 * ASCII; a stamp of 13 digits within the window; project and app id as expected; the signature, in constant time, under
 * each token; and, with a ReplayMemory, that it has not been seen before.
 */

import { createHash, createHmac, timingSafeEqual } from "node:crypto";

export const SCHEMES = ["user-stamp", "user-project-stamp", "user-project-appid-stamp", "hmac-sha256", "rfc9421"];

/** Why a request is not accepted. For the log, not for the client. */
export class Refused extends Error {
  status = 401;
}

/**
 * What the signer computes, as text. `username` as it travels; `query` without `?`; `stamp` as text; `parameters` of
 * rfc9421 alone.
 */
export function signature(scheme, token, claims) {
  const { user, project, appId, stamp, username = "", method = "", authority = "", path = "", query = "" } = claims;
  const { prefix = "x-kms-", parameters = "" } = claims;
  if (scheme === "hmac-sha256") {
    const values = [method, path, query, user, username, project, appId, stamp];
    const base = "countersign-hmac-sha256-1\n" + values.map((value) => `${Buffer.byteLength(value)}:${value}\n`).join("");
    return createHmac("sha256", token).update(base).digest("hex");
  }
  if (scheme === "rfc9421") {
    const values = [["@method", method], ["@authority", authority], ["@path", path], ["@query", `?${query}`],
      [`${prefix}user`, user], [`${prefix}username`, username], [`${prefix}stamp`, stamp], [`${prefix}appid`, appId],
      [`${prefix}project`, project], ["@signature-params", parameters]];
    const base = values.map(([name, value]) => `"${name}": ${value}`).join("\n");
    return createHmac("sha256", token).update(base).digest("base64");
  }
  const middle = { "user-stamp": "", "user-project-stamp": project, "user-project-appid-stamp": project + appId }[scheme];
  return createHash("sha256").update(user + middle + stamp + token).digest("hex");
}

/** Names a token in `keyid` of rfc9421, and tells nothing of it. */
export function keyId(token) {
  return createHash("sha256").update(`countersign-key:${token}`).digest("hex").slice(0, 16);
}

function same(one, other) {
  const digest = (text) => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(one), digest(other));
}

/** Remembers signatures for as long as they could be accepted again. For one process. */
export class ReplayMemory {
  #seen = new Map();
  #most;

  constructor(most = 100_000) {
    this.#most = most;
  }

  /** Whether `sign` has not been seen. Full: nothing is new, so that nothing is let through unremembered. */
  isNew(sign, until, now) {
    if (this.#seen.size >= this.#most) {
      for (const [old, end] of this.#seen) if (end < now) this.#seen.delete(old);
    }
    if (this.#seen.has(sign) || this.#seen.size >= this.#most) return false;
    this.#seen.set(sign, until);
    return true;
  }
}

/**
 * What an upstream expects.
 *
 * scheme: one of SCHEMES. tokens: the sign token; two while it is being replaced. project, appId: undefined accepts any.
 * window: seconds that a stamp may be old or ahead. replay: a ReplayMemory. demo: accept the demonstration signature of local
 * debugging; only on a developer's own machine.
 */
export class Verifier {
  #input;

  constructor({ scheme, tokens, project, appId, window = 300, prefix = "x-kms-", replay, demo = false, clock = Date.now }) {
    if (!SCHEMES.includes(scheme)) throw new TypeError(`the schemes are ${SCHEMES.join(", ")}`);
    this.tokens = [].concat(tokens ?? []);
    if (this.tokens.length === 0 || this.tokens.some((token) => typeof token !== "string" || [...token].length < 31)) {
      throw new TypeError("a sign token has at least 31 characters");
    }
    Object.assign(this, { scheme, project, appId, window, prefix: prefix.toLowerCase(), replay, demo, clock });
    const names = ["user", "username", "stamp", "appid", "project"].map((name) => this.prefix + name);
    const listed = ["@method", "@authority", "@path", "@query", ...names].map((name) => `"${name}"`).join(" ");
    const literal = `(${listed})`.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    // The only form that the signer gives to `signature-input`.
    this.#input = new RegExp(`^countersign=(${literal};created=([0-9]{1,12});expires=([0-9]{1,12});nonce="[A-Za-z0-9-]{1,64}"`
      + `;keyid="([0-9a-f]{16})";alg="hmac-sha256";tag="countersign")$`);
  }

  /** `target` as it was received, path and query; `rawHeaders` as Node gives them: name, value, name, value … */
  verify(method, target, rawHeaders, authority) {
    const fields = this.#fields(rawHeaders);
    const { user, username, project, appid: appId, stamp } = fields;
    let sign = fields.sign ?? "";
    const identity = { user, name: unquote(username), project, appId, stamp: Number(stamp) };
    if (sign === "demo") {
      if (this.demo) return identity;
      throw new Refused("the demonstration signature proves nothing");
    }
    if (!/^[\x21-\x40\x5b-\x7e]*$/.test(user)) throw new Refused("the user is not in lower-case ASCII");
    if (!/^[1-9][0-9]{12}$/.test(stamp)) throw new Refused("the stamp is not 13 digits");
    const now = this.clock();
    if (!(Math.abs(now - Number(stamp)) <= this.window * 1000)) throw new Refused("the stamp is outside the window");
    if (this.project !== undefined && project !== this.project) throw new Refused("the request is for another project");
    if (this.appId !== undefined && appId !== this.appId) throw new Refused("the request is for another app id");
    const mark = target.indexOf("?");
    const [path, query] = mark < 0 ? [target, ""] : [target.slice(0, mark), target.slice(mark + 1)];
    const host = (authority ?? fields.host ?? "").toLowerCase();
    const claims = { user, project, appId, stamp, username, method, authority: host, path, query, prefix: this.prefix };
    if (this.scheme === "rfc9421") sign = this.#message(fields, claims, now);
    else if (!this.#holds(sign, claims)) throw new Refused("the signature is wrong");
    if (this.replay && !this.replay.isNew(sign, Number(stamp) + this.window * 1000, now)) {
      throw new Refused("the signature has been seen before");
    }
    return identity;
  }

  /** The headers of the signature, each exactly once. */
  #fields(rawHeaders) {
    const wanted = new Map(["user", "username", "stamp", "appid", "project", "sign"].map((name) => [this.prefix + name, name]));
    if (this.scheme === "rfc9421") wanted.set("signature-input", "input").set("signature", "signature").set("host", "host");
    const fields = Object.create(null);
    for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
      const key = wanted.get(rawHeaders[at].toLowerCase());
      if (key === undefined) continue;
      if (key in fields) throw new Refused(`${rawHeaders[at].toLowerCase()} comes twice`);
      fields[key] = utf8(trimmed(rawHeaders[at + 1]));
    }
    const optional = new Set(this.scheme === "rfc9421" ? ["host", "sign"] : ["host"]);
    if (this.demo && fields.sign === "demo") optional.add("input").add("signature");
    for (const [name, key] of wanted) {
      if (!(key in fields) && !optional.has(key)) throw new Refused(`there is no ${name}`);
    }
    return fields;
  }

  /** Every token is tried, whatever the first one says. */
  #holds(sign, claims) {
    return this.tokens.map((token) => same(signature(this.scheme, token, claims), sign)).includes(true);
  }

  #message(fields, claims, now) {
    const input = this.#input.exec(fields.input);
    const sign = /^countersign=:([A-Za-z0-9+/]{43}=):$/.exec(fields.signature);
    if (!input || !sign) throw new Refused("signature-input is not the signer's");
    const [, parameters, created, expires, key] = input;
    if (Number(created) !== Math.floor(Number(claims.stamp) / 1000) || now / 1000 > Number(expires) + this.window) {
      throw new Refused("created and stamp differ, or the signature has expired");
    }
    if (!this.tokens.some((token) => same(keyId(token), key))) throw new Refused("the key is not known");
    if (!this.#holds(sign[1], { ...claims, parameters })) throw new Refused("the signature is wrong");
    return sign[1];
  }
}

/** Without blanks around it. No pattern: one would look at many blanks in the middle again and again. */
function trimmed(text) {
  let [from, to] = [0, text.length];
  while (from < to && " \t".includes(text[from])) from += 1;
  while (to > from && " \t".includes(text[to - 1])) to -= 1;
  return text.slice(from, to);
}

/** Node gives a header's bytes as Latin-1; a name that travels raw is UTF-8. */
function utf8(text) {
  if (!/[\x80-\xff]/.test(text) || /[^\x00-\xff]/.test(text)) return text;
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Buffer.from(text, "latin1"));
  } catch {
    return text;
  }
}

function unquote(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Express (and Connect, and plain `http`) middleware: 401 for what is refused, `request.countersign` for what is not. */
export function express(verifier) {
  return (request, response, next) => {
    try {
      request.countersign = verifier.verify(request.method, request.originalUrl ?? request.url, request.rawHeaders);
    } catch (error) {
      if (!(error instanceof Refused)) return next(error);
      response.statusCode = 401;
      return response.end("the signature is not valid\n");
    }
    return next();
  };
}

/** Koa middleware: 401 for what is refused, `ctx.state.countersign` for what is not. */
export function koa(verifier) {
  return async (ctx, next) => {
    try {
      ctx.state.countersign = verifier.verify(ctx.method, ctx.originalUrl, ctx.req.rawHeaders);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      ctx.status = 401;
      ctx.body = "the signature is not valid\n";
      return;
    }
    await next();
  };
}

/**
 * Express and plain `http` middleware for local debugging: lets pages of `origins` call this server from a browser, with the
 * headers of the demonstration signature. Does nothing unless `enabled`; never enable it on a server that others reach.
 */
export function localCors({ origins, enabled = false, prefix = "x-kms-" }) {
  const names = ["user", "username", "stamp", "appid", "project", "sign"].map((name) => prefix + name);
  return (request, response, next) => {
    const { origin } = request.headers;
    if (!enabled || !origins.includes(origin)) return next();
    response.setHeader("access-control-allow-origin", origin);
    response.setHeader("vary", "origin");
    if (request.method !== "OPTIONS" || !("access-control-request-method" in request.headers)) return next();
    response.setHeader("access-control-allow-methods", "GET, HEAD, POST, PUT, PATCH, DELETE");
    response.setHeader("access-control-allow-headers", ["content-type", ...names].join(", "));
    response.setHeader("access-control-max-age", "600");
    response.setHeader("access-control-allow-private-network", "true");
    response.statusCode = 204;
    return response.end();
  };
}

/** The same for Koa. */
export function koaLocalCors(options) {
  const cors = localCors(options);
  return (ctx, next) => {
    let goesOn = false;
    const response = {
      setHeader: (name, value) => ctx.set(name, value),
      set statusCode(status) {
        ctx.status = status;
      },
      end: () => {},
    };
    cors(ctx.req, response, () => {
      goesOn = true;
    });
    return goesOn ? next() : undefined;
  };
}
