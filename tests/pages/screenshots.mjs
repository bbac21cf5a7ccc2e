// Makes the pictures of the README: the documentation, and the viewer in the dark.
import { mkdirSync, readFileSync, statSync } from "node:fs";
import { launch, upload, Visitor } from "./browser.mjs";

const { env } = process;
const target = new URL("screenshots/", import.meta.url);
const client = { client_id: env.CDN_LIFETIME_ID, client_token: env.CDN_LIFETIME_TOKEN };
const lake = readFileSync(new URL("../samples/lake.jpg", import.meta.url));
const { path: image } = await upload(client, "7D", "lake.jpg", lake);

mkdirSync(target, { recursive: true });
const browser = await launch();
for (const [name, path, colorScheme, viewport] of [
  ["documentation", "/image/docs/", "light", { width: 1280, height: 800 }],
  ["viewer", `/view/?img=${image}`, "dark", { width: 1280, height: 860 }],
]) {
  const visitor = await Visitor.arrive(browser, { colorScheme, viewport });
  await visitor.open(path);
  const file = new URL(`${name}.jpg`, target).pathname;
  await visitor.page.screenshot({ path: file, type: "jpeg", quality: 82 });
  console.log(`${file}: ${statSync(file).size} bytes`);
  await visitor.leave();
}
await browser.close();
