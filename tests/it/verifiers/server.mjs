// An upstream that verifies with verifiers/node: `node server.mjs TOKEN…`. The first segment of the path says the scheme.
// Says `listening PORT`, then answers 200 with who calls as JSON, or 401.

import { createServer } from "node:http";

import { SCHEMES, Verifier, express } from "../../../verifiers/node/countersign.mjs";

const tokens = process.argv.slice(2);
const verifying = Object.fromEntries(SCHEMES.map((scheme) =>
  [scheme, express(new Verifier({ scheme, tokens, project: "demo", appId: "1001" }))]));

const server = createServer((request, response) => {
  const scheme = request.url.split("?")[0].split("/")[1];
  verifying[scheme](request, response, () => {
    const { user, name } = request.countersign;
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ user, name }));
  });
});
server.listen(0, "127.0.0.1", () => console.log(`listening ${server.address().port}`));
