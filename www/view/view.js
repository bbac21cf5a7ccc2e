// The page is complete without this file. It adds buttons that copy, and what the browser learns about the image by itself.
"use strict";

(() => {
  const said = document.getElementById("said");

  const copy = async (field) => {
    field.select();
    // Pages without https have no navigator.clipboard.
    if (navigator.clipboard) {
      await navigator.clipboard.writeText(field.value);
    } else if (!document.execCommand("copy")) {
      throw new Error("refused");
    }
  };

  for (const button of document.querySelectorAll("[data-copy]")) {
    const field = document.getElementById(button.dataset.copy);
    button.hidden = false;
    button.setAttribute("aria-label", "Copy " + field.labels[0].textContent);
    button.addEventListener("click", async () => {
      try {
        await copy(field);
        button.textContent = "Copied";
        button.classList.add("done");
        said.textContent = "Copied to the clipboard";
      } catch {
        // The text is selected, so the keyboard can still copy it.
        button.textContent = "Ctrl+C";
      }
      setTimeout(() => {
        button.textContent = "Copy";
        button.classList.remove("done");
        said.textContent = "";
      }, 2000);
    });
  }

  for (const field of document.querySelectorAll("input[readonly]")) {
    field.addEventListener("focus", () => field.select());
  }

  const image = document.getElementById("image");
  const facts = document.getElementById("facts");
  const kinds = { "image/jpeg": "JPEG", "image/png": "PNG", "image/gif": "GIF", "image/webp": "WebP" };

  const size = (bytes) => {
    if (bytes < 1024) return bytes + " bytes";
    if (bytes < 1048576) return (bytes / 1024).toFixed(0) + " KiB";
    return (bytes / 1048576).toFixed(1) + " MiB";
  };

  const describe = async () => {
    const parts = [];
    if (image.naturalWidth) parts.push(image.naturalWidth + " × " + image.naturalHeight + " pixels");
    const reply = await fetch(image.src, { method: "HEAD" });
    if (reply.ok) {
      const kind = kinds[reply.headers.get("Content-Type")];
      if (kind) parts.push(kind);
      const length = Number(reply.headers.get("Content-Length"));
      if (length) parts.push(size(length));
      // An expiring image is served to the end of its last day, UTC; a lasting one sends no Expires.
      const expires = Date.parse(reply.headers.get("Expires"));
      if (expires > Date.now()) {
        const day = new Date(expires - 1000).toLocaleDateString("en-GB", { dateStyle: "long", timeZone: "UTC" });
        parts.push("until " + day);
      }
    }
    if (parts.length) facts.textContent = parts.join("  ·  ");
  };

  const start = () => describe().catch(() => {});
  if (image.complete) start();
  else image.addEventListener("load", start);
})();
