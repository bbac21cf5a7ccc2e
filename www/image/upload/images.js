// "My images": the client's images, newest first, a page at a time while they are scrolled.
import { copy_on_press } from "/view/copy.js";
import { count, language, size, t } from "/view/text.js";
import * as account from "./account.js";
import { call } from "./api.js";
import { links } from "./links.js";
import { expiry } from "./uploads.js";

const PAGE = 200;
const AT_ONCE = 3;

const by_id = (id) => document.getElementById(id);
const make = (name, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
};

/** The images that are shown, by their path, with their tiles. */
let shown = new Map();
let next = null;
let loading = null;
/** The last tile that was ticked, from which Shift ticks a range. */
let last_ticked = null;

const selected = () => [...shown.values()].filter(({ box }) => box.checked);

const tile_of = (image) => {
  const box = make("input", { type: "checkbox" });
  const taken = new Date(image.uploaded_at).toLocaleString(language, { dateStyle: "medium", timeStyle: "short" });
  box.setAttribute("aria-label", t("Select the image of {when}", { when: taken }));
  const picture = make("img", { src: `/p/${image.path}`, alt: t("Image of {when}", { when: taken }), loading: "lazy", decoding: "async" });
  // A tile crops large images and shows small ones whole.
  if (Math.min(image.width, image.height) < 176) picture.className = "whole";
  const link = make("a", { href: `/view/?img=${image.path}`, className: "picture", title: taken }, picture);
  const facts = `${image.width} × ${image.height} · ${size(image.bytes)}`;
  const tile = make(
    "li",
    {},
    link,
    make("label", { className: "pick" }, box),
    make("p", { className: "facts-of", textContent: facts }),
    make("p", { className: "expiry", textContent: expiry(image) }),
  );
  box.addEventListener("click", (event) => {
    const tiles = [...shown.values()];
    const [from, to] = [last_ticked, tile].map((wanted) => tiles.findIndex((entry) => entry.tile === wanted));
    if (event.shiftKey && from >= 0) {
      for (const entry of tiles.slice(Math.min(from, to), Math.max(from, to) + 1)) entry.box.checked = box.checked;
    }
    last_ticked = tile;
    show_selection();
  });
  return { image, tile, box };
};

const show_selection = () => {
  const number = selected().length;
  by_id("selection").hidden = number === 0;
  by_id("selected-text").textContent = count(number, "{n} selected", "{n} selected");
  by_id("select-all").checked = number > 0 && number === shown.size;
  by_id("select-all").indeterminate = number > 0 && number < shown.size;
};

const show_end = () => {
  by_id("more").hidden = next === null;
  by_id("empty").hidden = shown.size > 0 || next !== null;
  by_id("empty").textContent = by_id("day").value ? t("No images of this day.") : t("No images yet. What you upload appears here.");
  by_id("select-all").disabled = shown.size === 0;
};

const fail = (failure) => {
  by_id("empty").textContent = failure.message;
  by_id("empty").hidden = false;
  by_id("more").hidden = next === null;
};

/** Loads the next page of the list; the first if there is none yet. */
const load = (after = null) => {
  const query = new URLSearchParams({ limit: PAGE });
  if (after) query.set("after", after);
  if (by_id("day").value) query.set("day", by_id("day").value);
  const asked = call(account.client, "GET", `images?${query}`);
  loading = asked;
  return asked.then(
    (page) => {
      // The list may have been begun again meanwhile.
      if (loading !== asked) return;
      loading = null;
      next = page.next;
      const added = page.images.filter(({ path }) => !shown.has(path)).map(tile_of);
      for (const entry of added) shown.set(entry.image.path, entry);
      by_id("grid").append(...added.map(({ tile }) => tile));
      show_end();
      show_selection();
      // A tall window may still show the end of the list.
      watcher.unobserve(by_id("more"));
      watcher.observe(by_id("more"));
    },
    (failure) => {
      if (loading !== asked) return;
      loading = null;
      fail(failure);
    },
  );
};

const load_more = () => {
  if (next && !loading) load(next);
};

const watcher = new IntersectionObserver((entries) => entries.some(({ isIntersecting }) => isIntersecting) && load_more(), { rootMargin: "800px" });

const show_usage = ({ plan, today, stored }) => {
  by_id("today").max = Math.max(1, plan.daily_uploads);
  by_id("today").value = today.uploads;
  by_id("today-text").textContent = t("{used} of {limit} uploads today", {
    used: today.uploads.toLocaleString(language),
    limit: plan.daily_uploads.toLocaleString(language),
  });
  by_id("stored-meter").hidden = !stored;
  if (!stored) return;
  const limit = plan.max_storage;
  const images = count(stored.images, "{n} image", "{n} images");
  by_id("stored-text").textContent = limit
    ? t("{images}, {bytes} of {limit} stored", { images, bytes: size(stored.bytes), limit: size(limit) })
    : t("{images}, {bytes} stored", { images, bytes: size(stored.bytes) });
  by_id("stored").hidden = !limit;
  if (limit) Object.assign(by_id("stored"), { max: limit, value: stored.bytes });
};

/** Empties the page. */
export const reset = () => {
  loading = null;
  next = null;
  shown = new Map();
  by_id("grid").replaceChildren();
  show_selection();
};

/** Shows the list from its beginning. */
export const open = () => {
  reset();
  by_id("empty").hidden = true;
  by_id("more").hidden = true;
  account.update_usage().then(show_usage, () => {});
  return load();
};

// ---- Deletion --------------------------------------------------------------------------------------------------------------

const question = by_id("question");
const [keep, confirm] = question.querySelectorAll("button");
const bar = question.querySelector("progress");
const failure_text = question.querySelector(".failure");
let stopped = false;

const ask = () => {
  const number = selected().length;
  by_id("question-heading").textContent = count(number, "Delete {n} image?", "Delete {n} images?");
  failure_text.textContent = "";
  bar.hidden = true;
  keep.textContent = t("Keep");
  confirm.disabled = false;
  question.showModal();
  keep.focus();
};

/** Deletes what is selected, three at a time. What fails stays selected. */
const delete_selected = async () => {
  const entries = selected();
  const waiting = [...entries];
  let done = 0;
  let failed = null;
  stopped = false;
  confirm.disabled = true;
  failure_text.textContent = "";
  keep.textContent = t("Stop");
  bar.hidden = false;
  bar.max = entries.length;
  bar.value = 0;
  const work = async () => {
    while (waiting.length && !stopped && !failed) {
      const { image, tile } = waiting.shift();
      try {
        await call(account.client, "DELETE", `images/${image.path}`);
      } catch (failure) {
        // 404: deleted already, perhaps in another window.
        if (failure.status !== 404) {
          failed = failure;
          return;
        }
      }
      tile.remove();
      shown.delete(image.path);
      done += 1;
      bar.value = done;
      by_id("question-heading").textContent = t("{done} of {all} deleted", { done, all: entries.length });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  confirm.disabled = false;
  keep.textContent = t("Keep");
  if (failed) {
    failure_text.textContent = failed.message;
  } else {
    question.close();
    by_id("said").textContent = count(done, "{n} image deleted", "{n} images deleted");
  }
  account.update_usage().then(show_usage, () => {});
  show_selection();
  show_end();
  if (!shown.size) load_more();
};

/** Wires the page. */
export const start = () => {
  watcher.observe(by_id("more"));
  by_id("more").addEventListener("click", load_more);
  by_id("day").addEventListener("change", () => {
    by_id("all-days").hidden = !by_id("day").value;
    open();
  });
  by_id("all-days").addEventListener("click", () => {
    by_id("day").value = "";
    by_id("all-days").hidden = true;
    by_id("day").focus();
    open();
  });
  const tick_all = (checked) => {
    for (const { box } of shown.values()) box.checked = checked;
    show_selection();
  };
  by_id("select-all").addEventListener("change", (event) => tick_all(event.target.checked));
  by_id("select-none").addEventListener("click", () => {
    tick_all(false);
    by_id("select-all").focus();
  });
  copy_on_press(by_id("copy-selected"), () => links(selected().map(({ image }) => image)), {
    done: t("Copied"),
    refused: t("Not allowed"),
    status: by_id("said"),
  });
  by_id("delete-selected").addEventListener("click", ask);
  confirm.addEventListener("click", delete_selected);
  keep.addEventListener("click", () => {
    stopped = true;
    if (!confirm.disabled) question.close();
  });
  question.addEventListener("cancel", () => {
    stopped = true;
  });
};

