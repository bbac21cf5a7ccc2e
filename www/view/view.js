// The page is complete without this script. It adds copy and share buttons, full size in place and, if the responder did not answer
// nginx, the facts that the headers of the image tell.
import { copy_on_press } from "./copy.js";
import { count, day, distance, language, size, t, translate_page } from "./text.js";

const by_id = (id) => document.getElementById(id);
const said = by_id("said");
const image = by_id("image");

translate_page();

// ---- Copying and sharing -------------------------------------------------------------------------------------------------

for (const button of document.querySelectorAll("[data-copy]")) {
  const field = by_id(button.dataset.copy);
  const name = button.textContent;
  button.hidden = false;
  if (button.closest(".copyable")) button.setAttribute("aria-label", `${name}: ${field.labels[0].textContent}`);
  copy_on_press(button, () => field.value, {
    done: t("Copied"),
    refused: "Ctrl+C",
    status: said,
    said: { done: t("Copied to the clipboard"), refused: "" },
    // The text is selected, so the keyboard can still copy it.
    on_refusal: () => field.select(),
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
// One pixel of the image is one pixel of the screen: enlarged to CSS pixels, it would be blurred. Where that gains little, the link
// opens the image alone.
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

let is_touched = false;
stage.addEventListener("pointerdown", ({ pointerType }) => {
  is_touched = pointerType === "touch";
});
stage.addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey || !zoom.showModal) return;
  if (is_touched) {
    event.preventDefault();
    open_fitted();
    return;
  }
  if (!is_scaled_down()) return;
  event.preventDefault();
  const box = image.getBoundingClientRect();
  const inside = (at, start, length) => Math.min(1, Math.max(0, (at - start) / length));
  if (event.detail === 0) open(0.5, 0.5);
  else open(inside(event.clientX, box.left, box.width), inside(event.clientY, box.top, box.height));
});

// On a touch screen the whole image is fitted to it first. Two fingers or a double tap enlarge it, one finger moves it then.
const DOUBLE_TAP = 300;
const fingers = new Map();
let fitted = null;

const open_fitted = () => {
  scroller.classList.add("fitted");
  full.src = image.src;
  full.removeAttribute("width");
  full.removeAttribute("height");
  fitted = { scale: 1, x: 0, y: 0, tapped_at: 0, is_tap: false };
  place();
  zoom.showModal();
};

const largest = () => Math.max(3, full_width() / full.clientWidth);

/** Keeps the image within its limits and in the window. */
const place = () => {
  const within = (value, low, high) => Math.min(high, Math.max(low, value));
  fitted.scale = within(fitted.scale, 1, largest() || 3);
  for (const [axis, length, room] of [["x", full.clientWidth, scroller.clientWidth], ["y", full.clientHeight, scroller.clientHeight]]) {
    const excess = Math.max(0, (length * fitted.scale - room) / 2);
    fitted[axis] = within(fitted[axis], -excess, excess);
  }
  full.style.transform = `translate(${fitted.x}px, ${fitted.y}px) scale(${fitted.scale})`;
};

/** Scales by `factor` around a point of the window, which keeps its place. */
const scale_at = (factor, { x, y }) => {
  const before = fitted.scale;
  fitted.scale *= factor;
  const from_centre = { x: x - scroller.clientWidth / 2, y: y - scroller.clientHeight / 2 };
  const applied = Math.min(largest(), Math.max(1, fitted.scale)) / before;
  for (const axis of ["x", "y"]) fitted[axis] = from_centre[axis] - (from_centre[axis] - fitted[axis]) * applied;
  place();
};

const middle_of_fingers = () => {
  const [one, two = one] = [...fingers.values()];
  return { x: (one.x + two.x) / 2, y: (one.y + two.y) / 2, spread: Math.hypot(one.x - two.x, one.y - two.y) };
};

scroller.addEventListener("pointerdown", (event) => {
  if (!fitted) return;
  fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  // Two fingers, or one that moves, do not tap.
  fitted.is_tap = fingers.size === 1;
});
scroller.addEventListener("pointermove", (event) => {
  if (!fingers.has(event.pointerId)) return;
  const before = middle_of_fingers();
  fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  const after = middle_of_fingers();
  fitted.x += after.x - before.x;
  fitted.y += after.y - before.y;
  if (Math.hypot(after.x - before.x, after.y - before.y) > 2) fitted.is_tap = false;
  if (fingers.size > 1 && before.spread > 0) scale_at(after.spread / before.spread, after);
  else place();
});
for (const end of ["pointerup", "pointercancel"]) {
  scroller.addEventListener(end, (event) => {
    if (!fingers.delete(event.pointerId) || end === "pointercancel" || !fitted.is_tap) return;
    const is_second = event.timeStamp - fitted.tapped_at < DOUBLE_TAP;
    fitted.tapped_at = is_second ? 0 : event.timeStamp;
    if (is_second) scale_at(fitted.scale > 1 ? 1 / fitted.scale : Math.min(3, largest()), { x: event.clientX, y: event.clientY });
  });
}
zoom.addEventListener("close", () => {
  scroller.classList.remove("fitted");
  full.style.transform = "";
  fingers.clear();
  fitted = null;
});

// A mouse drags the image; fingers scroll it anyway. A click without a drag closes.
let grip = null;
scroller.addEventListener("pointerdown", (event) => {
  if (fitted) return;
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
  if (!fitted && !grip?.moved) zoom.close();
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
    failure.textContent = t("This link does not have the key of this image. Open the whole delete link, unchanged.");
  } else if (status === 0) {
    failure.textContent = t("No reply. Check the connection and try again.");
  } else {
    failure.textContent = t("The server failed (status {status}). Try again later.", { status });
  }
};

keep.addEventListener("click", () => question.close());
by_id("delete").addEventListener("click", () => question.showModal());
addEventListener("hashchange", offer_deletion);
offer_deletion();

// ---- Facts ---------------------------------------------------------------------------------------------------------------

const fill = (id, text, title) => {
  const fact = by_id(id);
  const value = fact.querySelector("dd");
  value.textContent = text;
  if (title) value.title = title;
  fact.hidden = false;
};

// The page has the facts in English.
const translate_facts = () => {
  if (language === "en") return;
  for (const time of document.querySelectorAll(".facts time")) time.textContent = day(time.dateTime.slice(0, 10));
  const last = document.querySelector("#expiry time");
  if (last) document.querySelector("#expiry .left").textContent = distance(Date.parse(`${last.dateTime}T00:00:00Z`) + 86400000 - Date.now());
};

const describe = async () => {
  mark();
  translate_facts();
  // The page has all facts, unless the responder did not answer nginx.
  if (!by_id("size")) return;
  if (image.naturalWidth) fill("dimensions", image.naturalWidth + " × " + image.naturalHeight);
  const reply = await fetch(image.src, { method: "HEAD" });
  if (!reply.ok) return;
  const length = Number(reply.headers.get("Content-Length"));
  if (length) fill("size", size(length), count(length, "{n} byte", "{n} bytes"));
  // An expiring image is served to the end of its last day, UTC; a lasting one sends no Expires.
  const expires = Date.parse(reply.headers.get("Expires"));
  const left = expires - Date.now();
  if (left > 0) {
    fill("expiry", `${day(new Date(expires - 1000).toISOString().slice(0, 10))}, ${distance(left)}`);
    by_id("expiry").querySelector("dt").textContent = t("Expires");
  }
};

const start = () => describe().catch(() => {});
if (image.complete) start();
else image.addEventListener("load", start);
addEventListener("resize", mark);
