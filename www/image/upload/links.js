// The texts that people paste elsewhere, and the choice among them.
import { t } from "/view/text.js";

const FORMATS = {
  link: ["Link", (image) => image.url],
  viewer: ["Viewer page", (image) => image.viewer],
  direct: ["Direct link", (image) => image.direct],
  html: ["HTML", (image) => `<a href="${image.viewer}"><img src="${image.direct}" alt=""></a>`],
  markdown: ["Markdown", (image) => `[![image](${image.direct})](${image.viewer})`],
  bbcode: ["BBCode", (image) => `[url=${image.viewer}][img]${image.direct}[/img][/url]`],
};

const KEY = "corenexis.format";

let chosen = "link";
try {
  chosen = localStorage.getItem(KEY) ?? chosen;
} catch {
  // Storage may be forbidden: the choice then ends with the page.
}
if (!Object.hasOwn(FORMATS, chosen)) chosen = "link";

/** The images in the chosen format, a line each. */
export const links = (images) => images.map(FORMATS[chosen][1]).join("\n");

/** Fills the menus of formats; a format that is chosen in one is chosen in all. */
export const fill_menus = () => {
  const menus = [...document.querySelectorAll("[data-format]")];
  for (const menu of menus) {
    for (const [value, [name]] of Object.entries(FORMATS)) menu.append(new Option(t(name), value, false, value === chosen));
    menu.addEventListener("change", () => {
      chosen = menu.value;
      for (const other of menus) other.value = chosen;
      try {
        localStorage.setItem(KEY, chosen);
      } catch {
        // As above.
      }
    });
  }
};
