// The language of the pages, and their texts in it. English texts stand in the pages and scripts; a file such as de.json has their
// translations, by the English text. To add a language, add its file here and its code to src/render/pages.rs.

const offered = (document.documentElement.dataset.languages ?? "").split(" ");
const wanted = navigator.languages.map((tag) => tag.toLowerCase().split("-")[0]);

/** The code of the language: the first that the person wants and the page has. */
export const language = wanted.find((code) => code === "en" || offered.includes(code)) ?? "en";

let words = {};
if (language !== "en") {
  try {
    words = await (await fetch(`/view/${language}.json`)).json();
  } catch {
    // Without the file the page stays English.
  }
}

const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");

/** The text in the language of the page, with the values for its {names}. */
export const t = (text, values = {}) => fill(Object.hasOwn(words, text) ? words[text] : text, values);

const plural = new Intl.PluralRules(language);

/** The text for a number {n} in the language of the page; `other` is its name in the translations. */
export const count = (n, one, other, values = {}) => {
  const forms = Object.hasOwn(words, other) ? words[other] : { one, other };
  return fill(forms[plural.select(n)] ?? forms.other, { n: n.toLocaleString(language), ...values });
};

/** `2.1 MiB`, rounded down. */
export const size = (bytes) => {
  const number = (value, digits) => value.toLocaleString(language, { maximumFractionDigits: digits });
  if (bytes < 1024) return count(bytes, "{n} byte", "{n} bytes");
  if (bytes < 1048576) return `${number(Math.floor(bytes / 1024), 0)} KiB`;
  if (bytes < 1073741824) return `${number(Math.floor(bytes / 104857.6) / 10, 1)} MiB`;
  return `${number(Math.floor(bytes / 107374182.4) / 10, 1)} GiB`;
};

/** `5 April 2026`, of a day such as 2026-04-05. */
export const day = (text) =>
  new Date(`${text}T00:00:00Z`).toLocaleDateString(language === "en" ? "en-GB" : language, { dateStyle: "long", timeZone: "UTC" });

/** `in 6 days`: days from 48 hours on, hours from one hour on, else minutes. */
export const distance = (milliseconds) => {
  const words = new Intl.RelativeTimeFormat(language, { numeric: "always" });
  const hours = milliseconds / 3600000;
  if (hours < 1) return words.format(Math.max(1, Math.floor(hours * 60)), "minute");
  if (hours < 48) return words.format(Math.floor(hours), "hour");
  return words.format(Math.floor(hours / 24), "day");
};

const translate = (text) => {
  const plain = text.replace(/\s+/g, " ").trim();
  return plain && Object.hasOwn(words, plain) ? text.replace(text.trim(), () => words[plain]) : text;
};

/** Translates the texts of the page that have a translation. */
export const translate_page = () => {
  if (language === "en") return;
  document.documentElement.lang = language;
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) texts.currentNode.data = translate(texts.currentNode.data);
  for (const name of ["alt", "aria-label", "placeholder", "title"]) {
    for (const element of document.querySelectorAll(`[${name}]`)) element.setAttribute(name, translate(element.getAttribute(name)));
  }
  const [title, ...site] = document.title.split(" · ");
  document.title = [translate(title), ...site].join(" · ");
};
