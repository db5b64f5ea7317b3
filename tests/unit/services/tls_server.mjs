// An HTTPS server on 127.0.0.1 for services_tls_test: HTTP/2 and HTTP/1.1, a certificate of its own.
//   node tls_server.mjs CERT.pem KEY.pem      prints its port; stops when standard input ends
import { readFileSync } from "node:fs";
import { createSecureServer } from "node:http2";

const [cert, key] = process.argv.slice(2).map((path) => readFileSync(path));
let sessions = 0;
const server = createSecureServer({ cert, key, allowHTTP1: true }, (request, response) => {
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify({ version: request.httpVersion, path: request.url, sessions }));
});
server.on("session", () => (sessions += 1));
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.on("end", () => process.exit(0)).resume();
