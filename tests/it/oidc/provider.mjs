// npm's certified oidc-provider on loopback, for tests: `node provider.mjs SETTINGS`, SETTINGS a JSON object with
//   port            0: any
//   access_seconds  how long access tokens live
//   refresh_seconds how long refresh tokens live
//   people          what is known of people, by what they log in with: claims
// Prints `listening PORT`. Code with PKCE (required), refresh tokens that rotate (a spent one revokes its whole family), the
// device flow. Whoever logs in is who he says. Clients: `countersign`, public, and `confidential`, with a secret; and for people
// who log in at an edge `edge` and `other`, on any port of loopback and of *.test. Without an @ one has no mail address.
// GET /_seen tells what was asked: calls of the token endpoint, grants by type, errors, families that were revoked.

import { createServer } from "node:http";
import { pathToFileURL } from "node:url";

// The packages are installed beside the tests' other downloads, not beside this file.
const Provider = (await import(pathToFileURL(process.env.OIDC_PROVIDER).href)).default;

const settings = { port: 0, access_seconds: 3600, refresh_seconds: 86400, people: {}, ...JSON.parse(process.argv[2] ?? "{}") };
const server = createServer();
server.listen(settings.port, "127.0.0.1", () => {
  const { port } = server.address();
  const answer = provider(`http://127.0.0.1:${port}`);
  server.on("request", answer);
  console.log(`listening ${port}`);
});

// The tests may be ended without a chance to end this.
const parent = process.ppid;
setInterval(() => process.ppid === parent || process.exit(), 1000).unref();

function provider(issuer) {
  const seen = { token_calls: 0, grants: {}, errors: [], revoked: 0, agents: [] };
  const made = new Provider(issuer, configuration());
  // The edge's port is known only when it runs.
  const path = { redirect: "/.countersign/oidc/callback", logout: "/after" };
  const isOurs = (client, value, expected, otherwise) => {
    const { hostname, pathname } = new URL(value);
    const local = hostname === "127.0.0.1" || hostname.endsWith(".test");
    return client.clientId in EDGES ? local && pathname === expected : otherwise.call(client, value);
  };
  const { redirectUriAllowed, postLogoutRedirectUriAllowed } = made.Client.prototype;
  made.Client.prototype.redirectUriAllowed = function (value) {
    return isOurs(this, value, path.redirect, redirectUriAllowed);
  };
  made.Client.prototype.postLogoutRedirectUriAllowed = function (value) {
    return isOurs(this, value, path.logout, postLogoutRedirectUriAllowed);
  };
  made.on("grant.success", (ctx) => {
    const type = ctx.oidc.params.grant_type;
    seen.grants[type] = (seen.grants[type] ?? 0) + 1;
  });
  made.on("grant.error", (ctx, error) => seen.errors.push(`${error.error}: ${error.error_detail ?? ""}`));
  made.on("grant.revoked", () => (seen.revoked += 1));
  made.on("server_error", (ctx, error) => console.error(error));
  const callback = made.callback();
  return (request, response) => {
    if (request.url === "/_seen") {
      response.setHeader("content-type", "application/json");
      return response.end(JSON.stringify(seen));
    }
    if (request.method === "POST" && request.url === "/token") {
      seen.token_calls += 1;
      seen.agents.push(request.headers["user-agent"] ?? "");
    }
    return callback(request, response);
  };
}

// Clients of an edge, and what proves them.
const EDGES = {
  edge: "c4n4ry-oidc-edge-secret-0123456789",
  other: "c4n4ry-oidc-other-secret-0123456789",
};

function person(sub) {
  const mail = sub.includes("@") ? { email: sub, email_verified: true } : {};
  return { sub, ...mail, ...settings.people[sub] };
}

function configuration() {
  const grants = ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"];
  const client = {
    application_type: "native", // any port of the loopback address (RFC 8252 §7.3)
    redirect_uris: ["http://127.0.0.1/oauth/callback"],
    response_types: ["code"],
    grant_types: grants,
  };
  return {
    clients: [
      { ...client, client_id: "countersign", token_endpoint_auth_method: "none" },
      { ...client, client_id: "confidential", client_secret: "c4n4ry-oidc-client-secret-0123456789" },
      ...Object.entries(EDGES).map(([client_id, client_secret]) => ({
        client_id,
        client_secret,
        redirect_uris: ["https://a.test/.countersign/oidc/callback"],
        response_types: ["code"],
        grant_types: ["authorization_code", "refresh_token"],
      })),
      {
        client_id: "machine",
        client_secret: "c4n4ry-oidc-machine-secret-0123456789",
        redirect_uris: [],
        response_types: [],
        grant_types: ["client_credentials"],
      },
    ],
    clientAuthMethods: ["none", "client_secret_basic", "client_secret_post"],
    features: {
      devInteractions: { enabled: true },
      deviceFlow: { enabled: true },
      clientCredentials: { enabled: true },
      revocation: { enabled: true },
    },
    pkce: { required: () => true },
    scopes: ["openid", "offline_access", "api"],
    claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
    rotateRefreshToken: () => true,
    issueRefreshToken: async (ctx, client, code) => client.clientId in EDGES || code.scopes.has("offline_access"),
    expiresWithSession: () => false,
    findAccount: (ctx, sub) => ({ accountId: sub, claims: () => person(sub) }),
    ttl: {
      AccessToken: settings.access_seconds,
      ClientCredentials: settings.access_seconds,
      RefreshToken: settings.refresh_seconds,
      AuthorizationCode: 60,
      DeviceCode: 600,
      Grant: settings.refresh_seconds,
      IdToken: 3600,
      Interaction: 600,
      Session: 3600,
    },
    cookies: { keys: ["for tests alone"] },
  };
}
