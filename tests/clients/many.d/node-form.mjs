// The clients that have a form of their own. Usage: node-form.mjs CLIENT
import fs from "node:fs";
import http from "node:http";

const url = process.env.UPLOAD_URL;
const path = process.env.IMAGE;
const client = process.argv[2];
const library = (await import(client.replace("-chunked", ""))).default;
const fields = { client_id: process.env.CLIENT_ID, client_token: process.env.CLIENT_TOKEN, store_duration: "7D" };
const image = fs.createReadStream(path);
const formData = () => {
  const form = new library();
  Object.entries({ ...fields, image }).forEach(([name, value]) => form.append(name, value));
  return form;
};
const send = {
  axios: async () => (await library.postForm(url, { ...fields, image })).data,
  superagent: async () => (await library.post(url).field(fields).attach("image", path)).body,
  needle: async () => {
    const file = { file: path, content_type: "image/jpeg" };
    return (await library("post", url, { ...fields, image: file }, { multipart: true })).body;
  },
  request: () => void library.post({ url, formData: { ...fields, image } }).pipe(process.stdout),
  "form-data": () => void formData().submit(url, (error, reply) => reply.pipe(process.stdout)),
  // Without a length, Node sends Transfer-Encoding: chunked.
  "form-data-chunked": () => {
    const form = formData();
    const request = http.request(url, { method: "POST", headers: form.getHeaders() });
    form.pipe(request.on("response", (reply) => reply.pipe(process.stdout)));
  },
};
console.log(JSON.stringify((await send[client]()) ?? null));
