// Uploads by scripts of pages of other origins.
import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import { base, equal } from "./browser.mjs";

const client = { client_id: process.env.CDN_LIFETIME_ID, client_token: process.env.CDN_LIFETIME_TOKEN };
const image = readFileSync(new URL("../samples/badge.png", import.meta.url)).toString("base64");

/** Uploads with XMLHttpRequest and gives what the script can read of the reply. Runs in the page. */
const send = ({ url, fields, image, withCredentials, listens }) =>
  new Promise((resolve) => {
    const body = new FormData();
    for (const [name, value] of Object.entries(fields)) body.append(name, value);
    body.append("image", new Blob([Uint8Array.from(atob(image), (character) => character.charCodeAt(0))]));
    const request = new XMLHttpRequest();
    request.open("POST", url);
    request.withCredentials = withCredentials;
    // With a listener the browser sends a preflight request first (Fetch standard, CORS-preflight fetch).
    if (listens) request.upload.addEventListener("progress", () => {});
    request.addEventListener("load", () => resolve({ status: request.status, left: request.getResponseHeader("X-RateLimit-Remaining") }));
    request.addEventListener("error", () => resolve({ status: 0 }));
    request.send(body);
  });

/** The checks by their names; each takes the browser. */
export const checks = {
  async "a page of another origin reads the replies to its uploads, with credentials too"(browser) {
    const server = createServer((_, reply) => reply.writeHead(200, { "Content-Type": "text/html" }).end("<title>shop</title>"));
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    const context = await browser.newContext();
    try {
      const page = await context.newPage();
      // Another origin and, unlike another port, another site.
      await page.goto(`http://localhost:${server.address().port}/`);
      for (const withCredentials of [false, true]) {
        for (const listens of [false, true]) {
          const upload = { url: `${base}/image/v2/`, image, withCredentials, listens };
          const stored = await page.evaluate(send, { ...upload, fields: { ...client, store_duration: "7D" } });
          equal([stored.status, stored.left > 0], [200, true], JSON.stringify({ withCredentials, listens }));
          const refused = await page.evaluate(send, { ...upload, fields: {} });
          equal(refused.status, 400, "an error");
        }
      }
    } finally {
      await context.close();
      server.close();
    }
  },
};
