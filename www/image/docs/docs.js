// The page is complete without this script. It adds copy buttons, language tabs, a mark in the contents, and the reply below the form,
// which the browser otherwise posts itself.
import { copy_on_press } from "/view/copy.js";

const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const make = (name, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
};

const said = make("p", { className: "said" });
said.setAttribute("role", "status");
document.body.append(said);

// ---- Copying -------------------------------------------------------------------------------------------------------------

for (const block of all(".code")) {
  const caption = block.querySelector("figcaption");
  const button = make("button", { type: "button", className: "copy", textContent: "Copy" });
  button.setAttribute("aria-label", `Copy: ${caption.textContent}`);
  copy_on_press(button, () => block.querySelector("code").textContent, {
    done: "Copied",
    refused: "Not allowed",
    status: said,
    said: { done: "Copied to the clipboard", refused: "Copying is not allowed here" },
  });
  block.append(button);
}

// ---- Tabs: the pattern of the ARIA Authoring Practices Guide. A language chosen in one group is chosen in all. ----------

const groups = all(".tabs").map((group, number) => {
  const list = make("div", { className: "tablist" });
  list.setAttribute("role", "tablist");
  list.setAttribute("aria-label", "Language");
  const tabs = all(":scope > section", group).map((panel) => {
    const heading = panel.querySelector("h4");
    const name = heading.textContent;
    const tab = make("button", { type: "button", id: `tab-${number}-${name}`, textContent: name });
    tab.setAttribute("role", "tab");
    panel.id = `panel-${number}-${name}`;
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", tab.id);
    tab.setAttribute("aria-controls", panel.id);
    heading.hidden = true;
    list.append(tab);
    return { name, tab, panel };
  });
  group.prepend(list);
  return tabs;
});

// A group that does not have the language keeps its own.
const choose = (language) => {
  const having = groups.filter((tabs) => tabs.some(({ name }) => name === language));
  for (const { name, tab, panel } of having.flat()) {
    const chosen = name === language;
    tab.setAttribute("aria-selected", chosen);
    tab.tabIndex = chosen ? 0 : -1;
    panel.hidden = !chosen;
  }
};

for (const tabs of groups) {
  tabs.forEach(({ name, tab }, position) => {
    const choose_here = (language) => {
      // The panels above change their height; the tab keeps its place on the screen.
      const before = tab.getBoundingClientRect().top;
      choose(language);
      scrollBy(0, tab.getBoundingClientRect().top - before);
      try {
        localStorage.setItem("language", language);
      } catch {
        // Storage may be forbidden: the choice then ends with the page.
      }
    };
    tab.addEventListener("click", () => choose_here(name));
    tab.addEventListener("keydown", (event) => {
      const next = { ArrowRight: position + 1, ArrowLeft: position - 1, Home: 0, End: -1 }[event.key];
      if (next === undefined) return;
      event.preventDefault();
      const target = tabs.at(next % tabs.length);
      choose_here(target.name);
      target.tab.focus();
    });
  });
}

let remembered = null;
try {
  remembered = localStorage.getItem("language");
} catch {
  // As above.
}
const known = groups[0].some(({ name }) => name === remembered);
choose(groups[0][0].name);
if (known) choose(remembered);

// ---- The mark in the contents --------------------------------------------------------------------------------------------

const links = new Map(all("nav a").map((link) => [link.hash.slice(1), link]));
const strip = document.querySelector("nav");
const mark = (id) => {
  for (const [name, link] of links) {
    if (name !== id) {
      link.removeAttribute("aria-current");
    } else if (!link.hasAttribute("aria-current")) {
      link.setAttribute("aria-current", "true");
      // A strip on phones, a column on low screens.
      strip.scrollTo({
        left: link.offsetLeft - strip.clientWidth / 2 + link.offsetWidth / 2,
        top: link.offsetTop - strip.clientHeight / 2,
      });
    }
  }
};
const sections = all("main > section");
// The last sections cannot reach the top of the window: the mark follows the link that was clicked.
let asked = null;
const follow = () => {
  const at_end = innerHeight + scrollY >= document.documentElement.scrollHeight - 2;
  const reached = sections.filter((section) => section.getBoundingClientRect().top < 140);
  const last = asked && asked.getBoundingClientRect().top >= 0 ? asked : sections.at(-1);
  mark((at_end ? last : reached.at(-1) ?? sections[0]).id);
};
const follow_address = () => {
  asked = sections.find((section) => section.id === location.hash.slice(1));
  follow();
};
addEventListener("hashchange", follow_address);
for (const moved of ["wheel", "touchmove", "keydown"]) addEventListener(moved, () => { asked = null; }, { passive: true });
addEventListener("scroll", follow, { passive: true });
follow_address();

// ---- The form ------------------------------------------------------------------------------------------------------------

const form = document.querySelector(".try");
const [button, cancel] = all("button", form);
const progress = form.querySelector("progress");
const output = form.querySelector("output");
const reply = document.querySelector(".reply");
const result = reply.querySelector(".result");
const picture = reply.querySelector(".picture");
const file = form.elements.image;
const url = form.elements.image_url;

// One of the two: choosing one empties the other.
const check_source = () => file.setCustomValidity(file.value || url.value ? "" : "Choose an image file or enter an image URL.");
file.addEventListener("change", () => {
  if (file.value) url.value = "";
  check_source();
});
url.addEventListener("input", () => {
  if (url.value) file.value = "";
  check_source();
});
check_source();

// Only the durations of the client's plan can be chosen, once the credentials are entered.
const { client_id, client_token, store_duration } = form.elements;
const ask_plan = async () => {
  if (!client_id.value || !client_token.value) return;
  const headers = { "X-Client-Id": client_id.value, "X-Client-Token": client_token.value };
  const usage = await fetch(`${form.action}usage`, { headers });
  const durations = usage.ok ? (await usage.json()).plan.durations : null;
  for (const option of store_duration.options) option.disabled = durations !== null && !durations.includes(option.value);
  if (store_duration.selectedOptions[0]?.disabled) [store_duration.value] = durations;
};
for (const field of [client_id, client_token]) field.addEventListener("change", () => ask_plan().catch(() => {}));
ask_plan().catch(() => {});

const show = (request, milliseconds) => {
  let answer = {};
  try {
    answer = JSON.parse(request.responseText);
  } catch {
    // A proxy may have answered, not the API. The reply is shown as it is.
  }
  const stored = request.status === 200 && typeof answer.url === "string";
  const link = stored ? [make("a", { href: answer.url, textContent: answer.url })] : [answer.error ?? "The reply is not JSON"];
  const badge = make("span", { className: stored ? "status good" : "status bad", textContent: request.status });
  result.replaceChildren(badge, " ", ...link);
  // The policy of the page allows images of its own origin only, and public_url may be another name of the site.
  const here = stored && new URL(answer.url, location).origin === location.origin;
  picture.replaceChildren(...(here ? [make("img", { src: answer.url, alt: "The image that was stored" })] : []));
  reply.querySelector("#raw-reply").textContent = `HTTP ${request.status} ${request.statusText}`.trim() + `\n\n${request.responseText}`;
  reply.querySelector("#raw-headers").textContent = request.getAllResponseHeaders().trim().replaceAll("\r", "");
  output.textContent = `${stored ? "Stored" : "Refused"} after ${(milliseconds / 1000).toFixed(1)} s`;
  reply.hidden = false;
};

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const began = performance.now();
  const body = new FormData();
  for (const field of [client_id, client_token, store_duration]) body.append(field.name, field.value);
  if (url.value) body.append("image_url", url.value);
  else if (file.files.length) body.append("image", file.files[0]);
  // fetch() reports no upload progress.
  const request = new XMLHttpRequest();
  const end = (text) => {
    button.disabled = false;
    cancel.hidden = true;
    progress.hidden = true;
    output.textContent = text;
  };
  request.upload.addEventListener("progress", ({ loaded, total }) => {
    progress.value = loaded / total;
    output.textContent = loaded < total ? `${Math.floor((loaded / total) * 100)} % sent` : "Waiting for the reply";
  });
  request.addEventListener("load", () => {
    end("");
    show(request, performance.now() - began);
  });
  request.addEventListener("error", () => {
    // A server that refuses a large body may close the connection while the browser still sends.
    end("No reply. Check the connection and the size of the file.");
  });
  request.addEventListener("abort", () => end("Cancelled"));
  cancel.onclick = () => request.abort();
  button.disabled = true;
  cancel.hidden = false;
  progress.value = 0;
  progress.hidden = false;
  reply.hidden = true;
  output.textContent = "Sending";
  request.open("POST", form.action);
  request.send(body);
});
