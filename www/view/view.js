// The page is complete without this script. It adds copy and share buttons, full size in place and, if the responder did not answer
// nginx, the facts that the headers of the image tell.
"use strict";

(() => {
  const by_id = (id) => document.getElementById(id);
  const said = by_id("said");
  const image = by_id("image");

  // ---- Copying and sharing -------------------------------------------------------------------------------------------------

  const copy = async (field) => {
    // Pages without https have no navigator.clipboard.
    if (navigator.clipboard) return navigator.clipboard.writeText(field.value);
    field.select();
    if (!document.execCommand("copy")) throw new Error("refused");
  };

  for (const button of document.querySelectorAll("[data-copy]")) {
    const field = by_id(button.dataset.copy);
    const name = button.textContent;
    button.hidden = false;
    if (name === "Copy") button.setAttribute("aria-label", "Copy: " + field.labels[0].textContent);
    button.addEventListener("click", async () => {
      try {
        await copy(field);
        button.textContent = "Copied";
        button.classList.add("done");
        said.textContent = "Copied to the clipboard";
      } catch {
        // The text is selected, so the keyboard can still copy it.
        field.select();
        button.textContent = "Ctrl+C";
      }
      setTimeout(() => {
        button.textContent = name;
        button.classList.remove("done");
        said.textContent = "";
      }, 2000);
    });
  }

  for (const field of document.querySelectorAll("input[readonly]")) {
    field.addEventListener("focus", () => field.select());
  }

  if (navigator.share) {
    by_id("native").hidden = false;
    by_id("native").firstElementChild.addEventListener("click", () => {
      // Closing the system's menu rejects the promise.
      navigator.share({ url: by_id("page").value }).catch(() => {});
    });
  }

  // ---- Full size -----------------------------------------------------------------------------------------------------------

  const stage = by_id("stage");
  const zoom = by_id("zoom");
  const scroller = zoom.querySelector(".scroller");
  const full = scroller.firstElementChild;
  // One pixel of the image is one pixel of the screen: enlarged to CSS pixels, it would be blurred on phones. Where that gains little,
  // the link opens the image alone, which two fingers enlarge.
  const full_width = () => image.naturalWidth / Math.max(1, devicePixelRatio);
  const is_scaled_down = () => full_width() > image.clientWidth * 1.2;
  const mark = () => stage.classList.toggle("plain", !is_scaled_down());

  // The point that was clicked is centred; with the keyboard, the middle of the image.
  const open = (x, y) => {
    full.src = image.src;
    full.width = full_width();
    full.height = full.width * (image.naturalHeight / image.naturalWidth);
    zoom.showModal();
    scroller.scrollTo({
      left: x * full.width - scroller.clientWidth / 2,
      top: y * full.height - scroller.clientHeight / 2,
      behavior: "instant",
    });
    scroller.focus();
  };

  stage.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || !is_scaled_down() || !zoom.showModal) return;
    event.preventDefault();
    const box = image.getBoundingClientRect();
    const inside = (at, start, length) => Math.min(1, Math.max(0, (at - start) / length));
    if (event.detail === 0) open(0.5, 0.5);
    else open(inside(event.clientX, box.left, box.width), inside(event.clientY, box.top, box.height));
  });

  // A mouse drags the image; fingers scroll it anyway. A click without a drag closes.
  let grip = null;
  scroller.addEventListener("pointerdown", (event) => {
    grip = { x: event.clientX, y: event.clientY, left: scroller.scrollLeft, top: scroller.scrollTop, moved: false };
    if (event.pointerType !== "mouse") return;
    event.preventDefault();
    scroller.focus();
    scroller.setPointerCapture(event.pointerId);
  });
  scroller.addEventListener("pointermove", (event) => {
    if (!grip || event.pointerType !== "mouse" || !event.buttons) return;
    const [dx, dy] = [event.clientX - grip.x, event.clientY - grip.y];
    grip.moved ||= Math.hypot(dx, dy) > 4;
    scroller.scrollTo({ left: grip.left - dx, top: grip.top - dy, behavior: "instant" });
  });
  scroller.addEventListener("click", () => {
    if (!grip?.moved) zoom.close();
  });
  zoom.querySelector("button").addEventListener("click", () => zoom.close());

  // ---- Deletion ------------------------------------------------------------------------------------------------------------

  // The delete URL of an image is the one of this page with the key behind `#`, which no server sees. Opening it deletes nothing.
  const question = by_id("confirm");
  const failure = question.querySelector(".failure");
  const [keep, confirm] = question.querySelectorAll("button");

  const offer_deletion = () => {
    const key = /^#delete=([0-9a-fA-F]+)$/.exec(location.hash)?.[1] ?? history.state?.delete_key;
    if (!key) return;
    // Who shares the address from the address bar does not share the key. A reload keeps it.
    history.replaceState({ delete_key: key }, "", location.pathname + location.search);
    by_id("delete").hidden = false;
    confirm.onclick = () => delete_image(key);
    if (!question.open) question.showModal();
  };

  const delete_image = async (key) => {
    confirm.disabled = true;
    failure.textContent = "";
    let status = 0;
    try {
      const path = stage.pathname.replace(/^\/p\//, "");
      const reply = await fetch(`/image/v2/images/${path}`, { method: "DELETE", headers: { "X-Delete-Key": key } });
      status = reply.status;
    } catch {
      // No connection: the status stays 0.
    }
    confirm.disabled = false;
    // 404: deleted already, perhaps in another window.
    if (status === 200 || status === 404) {
      history.replaceState(null, "", location.pathname + location.search);
      question.close();
      by_id("shown").hidden = true;
      by_id("gone").hidden = false;
      by_id("gone").querySelector("h1").tabIndex = -1;
      by_id("gone").querySelector("h1").focus();
    } else if (status === 403) {
      failure.textContent = "This link does not have the key of this image. Open the whole delete link, unchanged.";
    } else if (status === 0) {
      failure.textContent = "No reply. Check the connection and try again.";
    } else {
      failure.textContent = `The server could not delete the image (status ${status}). Try again later.`;
    }
  };

  keep.addEventListener("click", () => question.close());
  by_id("delete").addEventListener("click", () => question.showModal());
  addEventListener("hashchange", offer_deletion);
  offer_deletion();

  // ---- Facts ---------------------------------------------------------------------------------------------------------------

  const size = (bytes) => {
    if (bytes < 1024) return bytes + " bytes";
    if (bytes < 1048576) return (bytes / 1024).toFixed(0) + " KiB";
    return (bytes / 1048576).toFixed(1) + " MiB";
  };

  const fill = (id, text, title) => {
    const fact = by_id(id);
    const value = fact.querySelector("dd");
    value.textContent = text;
    if (title) value.title = title;
    fact.hidden = false;
  };

  // "in 6 days": days from 48 hours on, hours from one hour on, else minutes.
  const distance = (milliseconds) => {
    const words = new Intl.RelativeTimeFormat("en", { numeric: "always" });
    const hours = milliseconds / 3600000;
    if (hours < 1) return words.format(Math.max(1, Math.floor(hours * 60)), "minute");
    if (hours < 48) return words.format(Math.floor(hours), "hour");
    return words.format(Math.floor(hours / 24), "day");
  };

  const describe = async () => {
    mark();
    // The page has all facts, unless the responder did not answer nginx.
    if (!by_id("size")) return;
    if (image.naturalWidth) fill("dimensions", image.naturalWidth + " × " + image.naturalHeight);
    const reply = await fetch(image.src, { method: "HEAD" });
    if (!reply.ok) return;
    const length = Number(reply.headers.get("Content-Length"));
    if (length) fill("size", size(length), length.toLocaleString("en") + " bytes");
    // An expiring image is served to the end of its last day, UTC; a lasting one sends no Expires.
    const expires = Date.parse(reply.headers.get("Expires"));
    const left = expires - Date.now();
    if (left > 0) {
      const day = new Date(expires - 1000).toLocaleDateString("en-GB", { dateStyle: "long", timeZone: "UTC" });
      fill("expiry", `${day}, ${distance(left)}`);
      by_id("expiry").querySelector("dt").textContent = "Expires";
    }
  };

  const start = () => describe().catch(() => {});
  if (image.complete) start();
  else image.addEventListener("load", start);
  addEventListener("resize", mark);
})();
