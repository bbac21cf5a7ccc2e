// The clients that take the FormData of browsers. Usage: web-form.mjs CLIENT
import { readFile } from "node:fs/promises";
import process from "node:process";

const url = process.env.UPLOAD_URL;
const client = process.argv[2];
const library = client === "fetch" ? { fetch } : await import(client);
const form = new (library.FormData ?? FormData)();
form.append("client_id", process.env.CLIENT_ID);
form.append("client_token", process.env.CLIENT_TOKEN);
form.append("store_duration", "7D");
form.append("image", new Blob([await readFile(process.env.IMAGE)], { type: "image/jpeg" }), "image.jpg");
const options = { method: "POST", body: form };
const send = {
  fetch: async () => (await fetch(url, options)).text(),
  got: () => library.default(url, options).text(),
  ky: () => library.default(url, options).text(),
  "node-fetch": async () => (await library.default(url, options)).text(),
  undici: async () => (await library.request(url, options)).body.text(),
};
console.log(await send[client]());
