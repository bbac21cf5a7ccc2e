// Makes the pictures of the README: the upload page after some uploads, and the viewer in the dark.
import { mkdirSync, readFileSync, statSync } from "node:fs";
import { launch, upload, Visitor } from "./browser.mjs";

const { env } = process;
const target = new URL("screenshots/", import.meta.url);
const client = { client_id: env.CDN_LIFETIME_ID, client_token: env.CDN_LIFETIME_TOKEN };
const lake = readFileSync(new URL("../samples/lake.jpg", import.meta.url));
const { path: image } = await upload(client, "7D", "lake.jpg", lake);

mkdirSync(target, { recursive: true });
const browser = await launch();

const upload_samples = async ({ page }) => {
  await page.fill("#client-id", client.client_id);
  await page.fill("#client-token", client.client_token);
  await page.click("#sign-in-button");
  await page.locator("#drop").waitFor();
  const samples = ["lake.webp", "lake-small.jpg", "badge.png"].map((name) => new URL(`../samples/${name}`, import.meta.url).pathname);
  await page.setInputFiles("#files", samples);
  await page.getByText("Copy 3 links").waitFor();
};

for (const [name, path, colorScheme, viewport, prepare] of [
  ["upload", "/image/upload/", "light", { width: 1280, height: 860 }, upload_samples],
  ["viewer", `/view/?img=${image}`, "dark", { width: 1280, height: 860 }],
]) {
  const visitor = await Visitor.arrive(browser, { colorScheme, viewport });
  await visitor.open(path);
  await prepare?.(visitor);
  const file = new URL(`${name}.jpg`, target).pathname;
  await visitor.page.screenshot({ path: file, type: "jpeg", quality: 82 });
  console.log(`${file}: ${statSync(file).size} bytes`);
  await visitor.leave();
}
await browser.close();
