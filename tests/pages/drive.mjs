// Runs every check of the pages against the demo that tests/pages/run has started, and counts.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { launch, upload } from "./browser.mjs";
import * as documentation from "./documentation.mjs";
import * as looks from "./looks.mjs";
import * as origins from "./origins.mjs";
import * as uploading from "./upload.mjs";
import * as viewer from "./viewer.mjs";

const { env } = process;
const sample = (name) => new URL(`../samples/${name}`, import.meta.url);
const bytes = (name) => readFileSync(sample(name));
const client = { client_id: env.CDN_LIFETIME_ID, client_token: env.CDN_LIFETIME_TOKEN };
const store = (duration, name) => upload(client, duration, name, bytes(name));
const path = async (reply) => (await reply).path;

// 16 × 16 pixels.
const icon = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAJUlEQVR4nGP4tUUDjuQCTsARLnGGQaiBGEXI4oNRwyAM1pEYDwBqC4YQKydrRwAAAABJRU5ErkJggg==",
  "base64",
);

const samples = {
  lakeFile: sample("lake.jpg").pathname,
  lake: bytes("lake.jpg"),
  store,
  week: await path(store("7D", "lake.jpg")),
  small: await path(store("1M", "badge.png")),
  moving: await path(store("3M", "spinner.gif")),
  lasting: await path(store("LTF", "lake.webp")),
  icon: await path(upload(client, "7D", "icon.png", icon)),
  deleted: await path(store("7D", "lake-small.jpg")),
};
execFileSync(env.CDN_BIN, ["--config", env.CDN_CONFIG, "image", "delete", samples.deleted]);

// A check can be chosen by a part of its area and name.
const wanted = process.argv[2];
let passed = 0;
let failed = 0;
const browser = await launch();
for (const [area, { checks }] of Object.entries({ documentation, viewer, origins, looks, "upload page": uploading })) {
  for (const [name, check] of Object.entries(checks)) {
    if (wanted && !`${area}: ${name}`.includes(wanted)) continue;
    try {
      await check(browser, samples);
      passed += 1;
      console.log(`ok ${area}: ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAIL ${area}: ${name}: ${error.message.replaceAll("\n", "\n    ")}`);
      console.log(`    ${error.stack.split("\n").find((line) => line.includes("tests/pages/") && !line.includes("browser.mjs"))?.trim()}`);
    }
  }
}
await browser.close();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
