// The upload page: which of its views is shown, signing in and out, and the ways by which images come: chosen, dropped, pasted, by URL.
import { count, size, t, translate_page } from "/view/text.js";
import * as account from "./account.js";
import * as images from "./images.js";
import { fill_menus } from "./links.js";
import * as uploads from "./uploads.js";

const by_id = (id) => document.getElementById(id);
const VIEWS = ["sign-in", "upload", "mine"];
const DURATION_KEY = "corenexis.duration";

translate_page();

// ---- Views -----------------------------------------------------------------------------------------------------------------

let view = "sign-in";

const show = (wanted) => {
  view = wanted;
  for (const name of VIEWS) by_id(`view-${name}`).hidden = name !== view;
  by_id("sign-out").hidden = !account.client;
  by_id("sign-out").title = account.client ? t("Signed in as {id}", { id: account.client.id }) : "";
};

/** Shows the view that the address names: #upload, #mine, or the invitation #id=… */
const follow_address = () => {
  const invitation = /^#id=([\w.-]{1,64})$/.exec(location.hash)?.[1];
  if (invitation) {
    history.replaceState(null, "", location.pathname + location.search);
    if (account.client?.id !== invitation) {
      by_id("client-id").value = invitation;
      show("sign-in");
      by_id("client-token").focus();
      return;
    }
  }
  const wanted = location.hash === "#mine" ? "mine" : "upload";
  for (const link of document.querySelectorAll(".views a")) {
    if (link.hash === `#${wanted}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (!account.client) {
    show("sign-in");
  } else {
    show(wanted);
    if (wanted === "mine") images.open();
    else show_plan();
  }
};

// ---- Signing in and out ----------------------------------------------------------------------------------------------------

const sign_in = async (id, token) => {
  const failure = by_id("sign-in-failure");
  by_id("sign-in-button").disabled = true;
  failure.textContent = "";
  try {
    await account.sign_in(id, token, by_id("stay").checked);
    by_id("client-token").value = "";
    follow_address();
    by_id(view === "mine" ? "content" : "choose").focus();
  } catch (refusal) {
    failure.textContent = refusal.message;
    by_id(refusal.error === "Invalid client ID" ? "client-id" : "client-token").focus();
  }
  by_id("sign-in-button").disabled = false;
};

const sign_out = (why = "") => {
  account.sign_out();
  uploads.reset();
  images.reset();
  by_id("sign-in").reset();
  show("sign-in");
  by_id("sign-in-failure").textContent = why;
  by_id("client-id").focus();
};

by_id("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  sign_in(by_id("client-id").value.trim(), by_id("client-token").value.trim());
});
by_id("demo")?.addEventListener("click", ({ target }) => {
  by_id("client-id").value = target.dataset.id;
  by_id("client-token").value = target.dataset.token;
  sign_in(target.dataset.id, target.dataset.token);
});
by_id("sign-out").addEventListener("click", () => {
  if (!uploads.unfinished() || confirm(t("Uploads are running. Sign out and cancel them?"))) sign_out();
});

// ---- The plan --------------------------------------------------------------------------------------------------------------

const DURATIONS = { "7D": () => t("7 days"), "1M": () => t("1 month"), "3M": () => t("3 months"), LTF: () => t("For ever") };
const chosen_duration = () => document.querySelector('[name="duration"]:checked')?.value;

const show_durations = ({ durations }) => {
  const choice = by_id("durations");
  const offered = [...choice.querySelectorAll("input")].map(({ value }) => value);
  if (offered.join() === durations.join()) return;
  let remembered = null;
  try {
    remembered = localStorage.getItem(DURATION_KEY);
  } catch {
    // Storage may be forbidden: the choice then ends with the page.
  }
  const checked = durations.includes(remembered) ? remembered : durations[0];
  choice.replaceChildren(
    choice.firstElementChild,
    ...durations.map((code) => {
      const label = document.createElement("label");
      const radio = Object.assign(document.createElement("input"), { type: "radio", name: "duration", value: code, checked: code === checked });
      radio.addEventListener("change", () => {
        try {
          localStorage.setItem(DURATION_KEY, code);
        } catch {
          // As above.
        }
      });
      const name = Object.assign(document.createElement("span"), { textContent: DURATIONS[code]?.() ?? code });
      label.append(radio, name);
      return label;
    }),
  );
};

const show_usage = ({ plan, today }) => {
  show_durations(plan);
  by_id("limits").textContent = t("JPEG, PNG, GIF or WebP, up to {size} each", { size: size(plan.max_file_size) });
  by_id("quota").textContent = count(today.remaining, "{n} upload left today", "{n} uploads left today");
};

/** Asks for the plan, unless it is known, and shows it. */
const show_plan = async () => {
  if (account.client.usage) show_usage(account.client.usage);
  try {
    show_usage(await account.update_usage());
  } catch (failure) {
    // The token may have been replaced since.
    if (failure.status === 401 || failure.status === 403) sign_out(failure.message);
    else by_id("quota").textContent = failure.message;
  }
};

// ---- The ways by which images come -----------------------------------------------------------------------------------------

const is_url = (text) => /^https?:\/\/\S+$/i.test(text);

const add = async (sources) => {
  if (!account.client || !sources.length) return;
  if (!account.client.usage) await show_plan();
  if (!account.client?.usage) return;
  if (view !== "upload") location.hash = "#upload";
  uploads.add(sources);
};

by_id("choose").addEventListener("click", () => by_id("files").click());
by_id("files").addEventListener("change", ({ target }) => {
  add([...target.files]);
  // The same file can be chosen again.
  target.value = "";
});

by_id("by-url").addEventListener("submit", (event) => {
  event.preventDefault();
  const urls = by_id("url").value.split(/\s+/).filter(Boolean);
  const wrong = urls.find((url) => !is_url(url));
  by_id("url-failure").textContent = wrong || !urls.length ? t("Enter a URL that begins with http:// or https://.") : "";
  if (wrong || !urls.length) {
    by_id("url").focus();
    return;
  }
  by_id("url").value = "";
  add(urls);
});

/** The files of what was dropped, those in folders too. */
const files_of = async (entries) => {
  const files = [];
  for (const entry of entries) {
    if (entry.isFile) {
      files.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
    } else {
      const reader = entry.createReader();
      // A reader gives at most a hundred entries at a time.
      for (;;) {
        const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
        if (!some.length) break;
        files.push(...(await files_of(some)).filter(({ type }) => type.startsWith("image/")));
      }
    }
  }
  return files;
};

const urls_of = (data) => (data.getData("text/uri-list") || data.getData("text/plain")).split(/\s+/).filter(is_url);

let over = 0;
const mark_drop = (change) => {
  over = change === 0 ? 0 : over + change;
  by_id("drop").classList.toggle("over", over > 0);
};
addEventListener("dragenter", (event) => {
  event.preventDefault();
  mark_drop(1);
});
addEventListener("dragleave", () => mark_drop(-1));
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", async (event) => {
  event.preventDefault();
  mark_drop(0);
  const { dataTransfer } = event;
  const urls = urls_of(dataTransfer);
  const entries = [...dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const files = [...dataTransfer.files];
  try {
    const found = entries.length ? await files_of(entries) : files;
    add(found.length ? found : urls);
  } catch {
    add(files);
  }
});

addEventListener("paste", (event) => {
  const files = [...event.clipboardData.files];
  const is_typed = event.target.matches?.("input, select, textarea");
  const urls = is_typed ? [] : urls_of(event.clipboardData);
  if (!files.length && !urls.length) return;
  event.preventDefault();
  add(files.length ? files : urls);
});

// ---- The start -------------------------------------------------------------------------------------------------------------

// Asks for what is left after uploads, not after each of many.
let asked = null;
const ask_later = () => {
  if (uploads.unfinished() || asked || !account.client) return;
  asked = setTimeout(() => {
    asked = null;
    if (account.client && view === "upload") show_plan();
  }, 300);
};

fill_menus();
images.start();
uploads.start(chosen_duration, ask_later);
account.resume();
addEventListener("hashchange", follow_address);
follow_address();
