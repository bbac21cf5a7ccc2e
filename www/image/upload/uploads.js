// The queue of uploads: three at a time, each with its progress, all with one.
import { copy_on_press } from "/view/copy.js";
import { count, distance, language, size, t } from "/view/text.js";
import * as account from "./account.js";
import { Failure, call, failure_of, is_short_wait, pause } from "./api.js";
import { links } from "./links.js";

const AT_ONCE = 3;
/** Attempts of an upload whose reply is lost. They have the same Idempotency-Key, so that the image is stored once. */
const ATTEMPTS = 3;
/** Previews are shown in 56 pixels; screens may have twice as many. */
const PREVIEW = 112;

const by_id = (id) => document.getElementById(id);
const make = (name, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
};

let uploads = [];
/** Uploads go on at this time, in milliseconds: the server asked to wait. */
let resume_at = 0;
let duration = () => "";
let changed = () => {};

/** An upload, from its file or URL to its reply, and its line in the list. */
class Upload {
  state = "waiting";
  sent = 0;

  constructor(source) {
    this.file = source instanceof File ? source : null;
    this.url = this.file ? "" : source;
    this.name = this.file ? this.file.name || t("Pasted image") : this.url.replace(/^https?:\/\//, "");
    this.bytes = this.file?.size ?? 0;
    this.line = make("li", { className: "upload" });
    this.preview = make("span", { className: "preview" });
    this.text = make("p", { className: "state" });
    this.bar = make("progress", { max: 1, value: 0 });
    this.bar.setAttribute("aria-label", this.name);
    this.buttons = make("p", { className: "row" });
    this.title = make("p", { className: "name", textContent: this.name, title: this.name });
    const about = make("div", { className: "about" }, this.title, this.bar, this.text);
    this.line.append(this.preview, about, this.buttons);
  }

  /** Sets the state and shows it. */
  become(state, text = "") {
    this.state = state;
    this.line.dataset.state = state;
    this.bar.hidden = !["waiting", "sending"].includes(state);
    this.text.textContent = text;
    const actions = {
      waiting: [["Cancel", () => this.cancel()]],
      sending: [["Cancel", () => this.cancel()]],
      failed: [["Try again", () => retry([this])], ["Remove", () => remove(this)]],
      cancelled: [["Upload", () => retry([this])], ["Remove", () => remove(this)]],
      stored: [["Copy", null], ["Delete", () => this.delete()]],
      deleted: [["Remove", () => remove(this)]],
    }[state];
    const had_focus = this.buttons.contains(document.activeElement);
    this.buttons.replaceChildren(
      ...actions.map(([name, act]) => {
        const button = make("button", { type: "button", className: "small", textContent: t(name) });
        button.setAttribute("aria-label", `${t(name)}: ${this.name}`);
        if (act) button.addEventListener("click", act);
        else copy_on_press(button, () => links([this.reply]), { done: t("Copied"), refused: t("Not allowed"), status: by_id("said") });
        return button;
      }),
    );
    if (had_focus) this.buttons.firstElementChild.focus();
    changed();
  }

  /** Why the server would refuse the file; empty if nothing speaks against it. */
  objection() {
    const limit = account.client.usage.plan.max_file_size;
    if (!this.file) return "";
    if (this.bytes > limit) return t("{size} is larger than your plan allows: {limit}.", { size: size(this.bytes), limit: size(limit) });
    const accepted = by_id("files").accept.split(",");
    if (this.file.type && !accepted.includes(this.file.type)) return t("This is not a JPEG, PNG, GIF or WebP image, or it is damaged.");
    return "";
  }

  async send() {
    this.become("sending", t("Sending"));
    for (let attempt = 1; ; attempt += 1) {
      try {
        this.reply = await this.request();
        break;
      } catch (failure) {
        if (this.state !== "sending") return;
        if (failure.status === 0 && !navigator.onLine) {
          this.become("waiting", t("No connection. It goes on when there is one."));
          return;
        }
        if (is_short_wait(failure) && failure.error !== "Too many failed attempts") {
          resume_at = Math.max(resume_at, Date.now() + Math.max(1, failure.wait) * 1000);
          this.become("waiting", t("The server is busy. It goes on {when}.", { when: in_seconds(failure.wait) }));
          return;
        }
        if (failure.status === 0 && attempt < ATTEMPTS) {
          await pause(attempt * 1000);
          if (this.state !== "sending") return;
          continue;
        }
        this.become("failed", failure.message);
        if (failure.error === "Daily upload limit reached") stop_waiting(failure.message);
        return;
      }
    }
    const { path, width, height, bytes } = this.reply;
    this.title.replaceChildren(make("a", { href: `/view/?img=${path}`, textContent: this.name }));
    this.become("stored", [`${width} × ${height}`, size(bytes), expiry(this.reply)].join(" · "));
    if (!this.file) this.show_preview(`/p/${path}`);
    by_id("said").textContent = t("{name} is uploaded.", { name: this.name });
  }

  /** Sends the form once; fetch() reports no progress of an upload. */
  request() {
    const { id, token } = account.client;
    const form = new FormData();
    form.append("client_id", id);
    form.append("client_token", token);
    form.append("store_duration", this.duration);
    if (this.file) form.append("image", this.file, this.file.name || "image");
    else form.append("image_url", this.url);
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      this.abort = () => request.abort();
      request.upload.addEventListener("progress", ({ loaded, total }) => {
        this.sent = loaded / total;
        this.bar.value = this.sent;
        this.text.textContent = loaded < total ? `${Math.floor(this.sent * 100)} %` : t("Waiting for the reply");
        changed();
      });
      request.addEventListener("load", () => {
        if (request.status === 200) resolve(JSON.parse(request.responseText));
        else reject(failure_of(request.status, request.responseText, (name) => request.getResponseHeader(name)));
      });
      for (const lost of ["error", "abort", "timeout"]) request.addEventListener(lost, () => reject(new Failure(0)));
      request.open("POST", "/image/v2/");
      request.setRequestHeader("Idempotency-Key", this.key);
      request.send(form);
    });
  }

  cancel() {
    this.become("cancelled", t("Cancelled"));
    this.abort?.();
    next();
  }

  async delete() {
    try {
      await call(account.client, "DELETE", `images/${this.reply.path}`);
    } catch (failure) {
      if (failure.status !== 404) {
        this.text.textContent = failure.message;
        return;
      }
    }
    this.title.replaceChildren(this.name);
    this.become("deleted", t("Deleted"));
    by_id("said").textContent = t("Deleted");
  }

  async make_preview() {
    if (!this.file || this.objection()) return;
    try {
      const bitmap = await createImageBitmap(this.file);
      const scale = Math.min(1, PREVIEW / Math.min(bitmap.width, bitmap.height));
      const canvas = make("canvas", { width: Math.max(1, bitmap.width * scale), height: Math.max(1, bitmap.height * scale) });
      canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
      bitmap.close();
      const blob = await new Promise((resolve) => canvas.toBlob(resolve));
      this.show_preview(URL.createObjectURL(blob));
    } catch {
      // The server says whether it is an image.
    }
  }

  show_preview(address) {
    this.preview.replaceChildren(make("img", { src: address, alt: "", onload: () => URL.revokeObjectURL(address) }));
  }
}

/** When the image expires, in words. */
export const expiry = ({ expires_at }) => {
  const end = Date.parse(`${expires_at}T00:00:00Z`) + 86400000;
  return Number.isNaN(end) ? t("never expires") : t("expires {when}", { when: distance(end - Date.now()) });
};

const in_seconds = (seconds) => distance_of_seconds.format(Math.max(1, Math.ceil(seconds)), "second");
const distance_of_seconds = new Intl.RelativeTimeFormat(language, { numeric: "always" });

/** Uploads that wait cannot be sent today. */
const stop_waiting = (why) => {
  for (const upload of uploads) if (upload.state === "waiting") upload.become("failed", why);
};

/** Starts uploads that wait, as long as fewer than three run. */
const next = () => {
  if (Date.now() < resume_at) {
    setTimeout(next, resume_at - Date.now() + 10);
    return;
  }
  if (!navigator.onLine) return;
  while (uploads.filter(({ state }) => state === "sending").length < AT_ONCE) {
    const upload = uploads.find(({ state }) => state === "waiting");
    if (!upload) break;
    upload.send().finally(next);
  }
};

const random_key = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

const retry = (some) => {
  for (const upload of some) begin(upload);
  next();
};

const begin = (upload) => {
  upload.sent = 0;
  upload.bar.value = 0;
  // The server refuses a key for another upload than its first.
  if (upload.duration !== duration()) upload.key = random_key();
  upload.duration = duration();
  const objection = upload.objection();
  if (objection) upload.become("failed", objection);
  else upload.become("waiting", t("Waiting"));
};

const remove = (upload) => {
  uploads = uploads.filter((other) => other !== upload);
  const neighbour = upload.line.nextElementSibling ?? upload.line.previousElementSibling;
  upload.line.remove();
  (neighbour?.querySelector("button") ?? by_id("choose")).focus();
  changed();
};

/** Adds files and URLs to the queue. */
export const add = async (sources) => {
  const added = sources.map((source) => new Upload(source));
  uploads.push(...added);
  by_id("queue").append(...added.map(({ line }) => line));
  retry(added);
  // One after the other: large images take memory while they are decoded.
  for (const upload of added) await upload.make_preview();
};

/** How many uploads are not finished. */
export const unfinished = () => uploads.filter(({ state }) => ["waiting", "sending"].includes(state)).length;

/** Cancels and forgets all uploads. */
export const reset = () => {
  for (const upload of uploads) {
    upload.state = "cancelled";
    upload.abort?.();
    upload.line.remove();
  }
  uploads = [];
  changed();
};

const of_state = (...states) => uploads.filter(({ state }) => states.includes(state));

const show_total = () => {
  const stored = of_state("stored", "deleted").length;
  const failed = of_state("failed").length;
  const kept = of_state("stored");
  const counted = uploads.length - of_state("cancelled").length;
  const progress = of_state("stored", "deleted", "failed").length + of_state("sending").reduce((sum, { sent }) => sum + sent, 0);
  by_id("results").hidden = !uploads.length;
  by_id("total").value = counted ? progress / counted : 0;
  by_id("total").hidden = !unfinished();
  const parts = [count(counted, "{done} of {n} image uploaded", "{done} of {n} images uploaded", { done: stored })];
  if (failed) parts.push(count(failed, "{n} failed", "{n} failed"));
  by_id("total-text").textContent = parts.join(" · ");
  by_id("cancel-all").hidden = !unfinished();
  by_id("retry-all").hidden = !failed || unfinished() > 0;
  by_id("clear").hidden = unfinished() > 0;
  by_id("upload-copying").hidden = !kept.length;
  by_id("copy-all").textContent = copy_all_name();
};

const copy_all_name = () => count(of_state("stored").length, "Copy {n} link", "Copy {n} links");

/** Wires the list. `get_duration` gives the chosen duration; `when_changed` is called after each change. */
export const start = (get_duration, when_changed) => {
  duration = get_duration;
  changed = () => {
    show_total();
    when_changed();
  };
  by_id("cancel-all").addEventListener("click", () => {
    for (const upload of of_state("waiting", "sending")) upload.cancel();
    by_id("choose").focus();
  });
  by_id("retry-all").addEventListener("click", () => retry(of_state("failed")));
  by_id("clear").addEventListener("click", () => {
    reset();
    by_id("choose").focus();
  });
  copy_on_press(by_id("copy-all"), () => links(of_state("stored").map(({ reply }) => reply)), {
    done: t("Copied"),
    refused: t("Not allowed"),
    status: by_id("said"),
    name: copy_all_name,
  });
  addEventListener("online", next);
  addEventListener("beforeunload", (event) => {
    if (unfinished()) event.preventDefault();
  });
};
