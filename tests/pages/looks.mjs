// What holds for every page: no violation of axe-core in light and dark, and nothing to scroll sideways on a phone.
import { ensure, equal, Visitor } from "./browser.mjs";

const pages = ({ week, small }) => [
  ["documentation", "/image/docs/"],
  ["upload page", "/image/upload/"],
  ["viewer", `/view/?img=${week}`],
  ["viewer of a small image", `/view/?img=${small}`],
  ["expired", "/view/?img=d/ap5/AbCdEfGhIj.png"],
];

/** How light a colour is, from 0 to 255. */
const lightness = (colour) => {
  const [red, green, blue] = colour.match(/\d+/g).map(Number);
  return 0.2 * red + 0.7 * green + 0.1 * blue;
};

/** The checks by their names; each takes the browser and the samples. */
export const checks = {
  async "axe-core finds no violation, light and dark, wide and narrow"(browser, samples) {
    for (const [name, path] of pages(samples)) {
      for (const colorScheme of ["light", "dark"]) {
        for (const width of [1280, 390]) {
          const visitor = await Visitor.arrive(browser, { colorScheme, viewport: { width, height: 844 }, missing: true });
          await visitor.open(path);
          const languages = await visitor.page.getByRole("tab").allTextContents();
          // On a phone the code is the same.
          for (const language of languages.length && width > 390 ? new Set(languages) : [null]) {
            if (language) await visitor.page.getByRole("tab", { name: language, exact: true }).first().click();
            equal(await visitor.violations(), [], `${name}, ${colorScheme}, ${width} px, ${language ?? "as it opens"}`);
          }
          await visitor.leave();
        }
      }
    }
  },

  async "axe-core finds no violation in the reply of the form and in the full size"(browser, { week }) {
    for (const colorScheme of ["light", "dark"]) {
      const visitor = await Visitor.arrive(browser, { colorScheme, viewport: { width: 800, height: 844 } });
      await visitor.open("/image/docs/");
      await visitor.page.fill("#try-url", "http://127.0.0.1/image.jpg");
      await visitor.page.getByRole("button", { name: "Upload", exact: true }).click();
      await visitor.page.locator(".reply").waitFor({ state: "visible" });
      await visitor.page.locator(".reply summary").click();
      equal(await visitor.violations(), [], `the reply, ${colorScheme}`);
      await visitor.open(`/view/?img=${week}`);
      await visitor.page.locator("#stage").click();
      await visitor.page.locator("#zoom").waitFor({ state: "visible" });
      equal(await visitor.violations(), [], `the full size, ${colorScheme}`);
      visitor.complaints = visitor.complaints.filter((text) => !/status of 400/.test(text));
      await visitor.leave();
    }
  },

  async "light is light and dark is dark"(browser, samples) {
    for (const [name, path] of pages(samples)) {
      for (const [colorScheme, right] of [["light", (ground, text) => ground > 200 && text < 80], ["dark", (ground, text) => ground < 60 && text > 180]]) {
        const visitor = await Visitor.arrive(browser, { colorScheme, missing: true });
        await visitor.open(path);
        const { ground, text } = await visitor.page.evaluate(() => {
          const { backgroundColor: ground, color: text } = getComputedStyle(document.body);
          return { ground, text };
        });
        ensure(right(lightness(ground), lightness(text)), `${name}, ${colorScheme}: ${text} on ${ground}`);
        await visitor.leave();
      }
    }
  },

  async "nothing has to be scrolled sideways on a phone"(browser, samples) {
    for (const [name, path] of pages(samples)) {
      for (const javaScriptEnabled of [true, false]) {
        for (const width of [320, 360, 390, 768]) {
          const visitor = await Visitor.arrive(browser, { javaScriptEnabled, viewport: { width, height: 844 }, isMobile: true, hasTouch: true, missing: true });
          await visitor.open(path);
          equal(await visitor.overflow(), 0, `${name} at ${width} px, ${javaScriptEnabled ? "with" : "without"} JavaScript: pixels too wide`);
          const tables = await visitor.page.locator(".scroll").evaluateAll((all) => all.map((region) => region.scrollWidth - region.clientWidth));
          ensure(width > 390 || tables.every((pixels) => pixels <= 0), `${name} at ${width} px: a table is too wide`);
          await visitor.leave();
        }
      }
    }
  },

  async "fingers find what they aim at"(browser, samples) {
    for (const [name, path] of pages(samples)) {
      const visitor = await Visitor.arrive(browser, { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, missing: true });
      await visitor.open(path);
      // WCAG 2.2, 2.5.5: 44 pixels, except links within a sentence.
      const small = await visitor.page
        .locator("button:visible, .button:visible, input:not([type=checkbox]):visible, .tick:visible, select:visible, summary:visible, :is(nav, .targets, .cards, h2, h3, footer) a:visible")
        .evaluateAll((all) =>
          all.filter((element) => element.getBoundingClientRect().height < 44).map((element) => element.outerHTML),
        );
      equal(small, [], name);
      await visitor.leave();
    }
  },
};
