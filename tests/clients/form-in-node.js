// Runs the documented upload.js in Node: stands in for the two elements of its form and submits the form once.
// Usage: node form-in-node.js PROGRAM IMAGE
const { readFileSync } = require('node:fs');
const { basename, resolve } = require('node:path');

const [program, image] = process.argv.slice(2);
const file = new Blob([readFileSync(image)]);
file.name = basename(image);
const elements = {
  uploadForm: { addEventListener: (_, listener) => setImmediate(listener, { preventDefault() {} }) },
  imageFile: { files: [file] },
};
globalThis.document = { getElementById: (id) => elements[id] };
require(resolve(program));
