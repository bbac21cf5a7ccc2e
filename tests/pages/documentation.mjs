// The documentation page, as people use it.
import { readFileSync } from "node:fs";
import { base, ensure, equal, until, Visitor } from "./browser.mjs";

const DOCS = "/image/docs/";
const LANGUAGES = ["curl", "JavaScript", "Python", "PHP"];
// Uploads of files have more than those from URLs.
const FILE_LANGUAGES = [...LANGUAGES, "Go", "Java", "C#", "Rust"];

/** The checks by their names; each takes the browser and the samples. */
export const checks = {
  async "every code block is copied as it is written"(browser) {
    const visitor = await Visitor.arrive(browser);
    await visitor.open(DOCS);
    let copied = 0;
    for (const language of FILE_LANGUAGES) {
      await visitor.page.getByRole("tab", { name: language, exact: true }).first().click();
      for (const block of await visitor.page.locator("figure.code").all()) {
        if (!(await block.isVisible())) continue;
        const button = block.locator("button.copy");
        await button.click();
        await until("the button says so", async () => (await button.textContent()) === "Copied");
        equal(await visitor.page.locator('p.said[role="status"]').textContent(), "Copied to the clipboard", "what is said");
        equal(await visitor.clipboard(), await block.locator("code").textContent(), "the clipboard");
        copied += 1;
      }
    }
    ensure(copied > 20, `${copied} blocks were copied`);
    await visitor.leave();
  },

  async "copying works without navigator.clipboard, as on a page without https"(browser) {
    const visitor = await Visitor.arrive(browser);
    await visitor.context.addInitScript(() => {
      globalThis.clipboardOfTheTest = navigator.clipboard;
      Object.defineProperty(Navigator.prototype, "clipboard", { get: () => undefined });
    });
    await visitor.open(DOCS);
    await visitor.page.locator("figure.code button.copy").first().click();
    const text = await visitor.page.locator("#quick").textContent();
    equal(await visitor.page.evaluate(() => clipboardOfTheTest.readText()), text, "the clipboard");
    await visitor.leave();
  },

  async "a language that is chosen is chosen everywhere and remembered"(browser) {
    const visitor = await Visitor.arrive(browser);
    await visitor.open(DOCS);
    const panels = () => visitor.page.locator('[role="tabpanel"]:visible').evaluateAll((all) => all.map((panel) => panel.id));
    const shown = (language) => equalPanels(language, panels);
    await shown("curl");
    await visitor.page.getByRole("tab", { name: "Python" }).last().click();
    await shown("Python");
    await visitor.page.reload();
    await shown("Python");
    // The keys of the ARIA Authoring Practices Guide.
    await visitor.page.getByRole("tab", { name: "Python" }).last().focus();
    for (const [key, language] of [["ArrowRight", "PHP"], ["ArrowRight", "curl"], ["ArrowLeft", "PHP"], ["Home", "curl"], ["End", "PHP"]]) {
      await visitor.page.keyboard.press(key);
      await shown(language);
      equal(await visitor.page.evaluate(() => document.activeElement.textContent), language, "the focus");
    }
    // A group without the language keeps its own.
    await visitor.page.getByRole("tab", { name: "Rust" }).click();
    equal((await panels()).join(), "panel-0-Rust,panel-1-PHP", "the panels");
    await visitor.page.reload();
    equal((await panels()).join(), "panel-0-Rust,panel-1-curl", "the panels");
    await visitor.leave();
  },

  async "the contents mark the section that is read"(browser) {
    const visitor = await Visitor.arrive(browser);
    await visitor.open(DOCS);
    const marked = () => visitor.page.locator("nav a[aria-current]").evaluateAll((all) => all.map((link) => link.hash));
    for (const id of await visitor.page.locator("main > section").evaluateAll((all) => all.map((section) => section.id))) {
      await visitor.page.locator(`nav a[href="#${id}"]`).click();
      await until(`the mark at ${id}`, async () => (await marked()).join() === `#${id}`);
      ensure(await visitor.page.locator(`#${id} h1, #${id} h2`).isVisible(), `${id} is in sight`);
    }
    await visitor.page.mouse.move(800, 400);
    await visitor.page.mouse.wheel(0, -20000);
    await until("the mark at the top", async () => (await marked()).join() === "#introduction");
    await visitor.leave();
  },

  async "the form uploads, with progress, and shows the reply above its headers"(browser, { lake, lakeFile }) {
    const visitor = await Visitor.arrive(browser);
    await visitor.open(`${DOCS}#try`);
    const { page } = visitor;
    // A line so slow that there is something to be seen, and to be cancelled.
    const line = await visitor.context.newCDPSession(page);
    await line.send("Network.enable");
    await line.send("Network.emulateNetworkConditions", { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: 4096 });
    await page.setInputFiles("#try-image", lakeFile);
    await page.getByRole("button", { name: "Upload", exact: true }).click();
    await until("a percentage", async () => /^\d+ % sent$/.test(await page.locator("output").textContent()));
    ensure(await page.locator("progress").isVisible(), "the progress bar is in sight");
    await page.getByRole("button", { name: "Cancel" }).click();
    await until("the cancellation", async () => (await page.locator("output").textContent()) === "Cancelled");
    ensure(!(await page.locator(".reply").isVisible()), "there is no reply");
    await line.send("Network.emulateNetworkConditions", { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: -1 });

    await page.getByRole("button", { name: "Upload", exact: true }).click();
    await page.locator(".reply").waitFor({ state: "visible" });
    equal(await page.locator(".result .status").textContent(), "200", "the status");
    ensure(/^Stored after \d+\.\d s$/.test(await page.locator("output").textContent()), "it says how long it took");
    const raw = await page.locator("#raw-reply").textContent();
    ensure(/^HTTP 200[^\n]*\n\n\{"status":"success","url":".*"expires_at":"[^\n]*\}$/.test(raw), raw);
    ensure(!(await page.locator("#raw-headers").isVisible()), "the headers are folded");
    await page.locator(".reply summary").click();
    ensure((await page.locator("#raw-headers").innerText()).includes("x-ratelimit-remaining:"), "the headers of the reply");
    const url = await page.locator(".result a").getAttribute("href");
    ensure(url.startsWith(`${base}/p/d/`), url);
    const stored = Buffer.from(await (await fetch(url)).arrayBuffer());
    ensure(stored.equals(lake), "what is stored is what was chosen");
    await until("the picture", () => page.locator(".picture img").evaluate((image) => image.naturalWidth === 1200));
    await visitor.leave();
  },

  async "the form shows errors as they are"(browser, { lakeFile }) {
    const visitor = await Visitor.arrive(browser);
    await visitor.open(`${DOCS}#try`);
    const { page } = visitor;
    const refused = async (status, error) => {
      await page.getByRole("button", { name: "Upload", exact: true }).click();
      await until(error, async () => (await page.locator(".result").textContent()) === `${status} ${error}`);
      ensure((await page.locator("#raw-reply").textContent()).includes(`{"error":"${error}"`), "the raw reply has it");
      ensure((await page.locator("output").textContent()).startsWith("Refused after"), "it says that it was refused");
      ensure((await page.locator(".errors").textContent()).includes(`{"error":"${error}"`), `${error} is in the table`);
    };
    // Without an image nothing is sent.
    await page.getByRole("button", { name: "Upload", exact: true }).click();
    ensure(!(await page.locator("#try-image").evaluate((file) => file.checkValidity())), "an image is required");
    ensure(!(await page.locator(".reply").isVisible()), "there is no reply");
    await page.fill("#try-url", "http://127.0.0.1/image.jpg");
    await refused(400, "Failed to download image");
    await page.setInputFiles("#try-image", { name: "image.png", mimeType: "image/png", buffer: Buffer.from("no image") });
    equal(await page.inputValue("#try-url"), "", "the URL gives way to the file");
    await refused(400, "Invalid file type");
    await page.setInputFiles("#try-image", { name: "large.png", mimeType: "image/png", buffer: Buffer.alloc(6 << 20) });
    await refused(400, "File too large");
    await page.setInputFiles("#try-image", lakeFile);
    // Only the durations of the client's plan can be chosen.
    const durations = () => page.locator("#try-duration option:enabled").evaluateAll((all) => all.map((option) => option.value));
    await until("the durations of the plan", async () => (await durations()).join() === "7D,1M,3M");
    await page.fill("#try-token", "0".repeat(32));
    await refused(403, "Invalid client token");
    await page.fill("#try-id", "nobody");
    await refused(403, "Invalid client ID");
    // The browser reports what it was refused on the console; that is not the page's doing.
    visitor.complaints = visitor.complaints.filter((text) => !/status of 40[03]/.test(text));
    await visitor.leave();
  },

  async "the page is whole without JavaScript"(browser, { lake, lakeFile }) {
    const visitor = await Visitor.arrive(browser, { javaScriptEnabled: false });
    await visitor.open(DOCS);
    const { page } = visitor;
    equal(await page.locator(".tabs h4:visible").allTextContents(), [...FILE_LANGUAGES, ...LANGUAGES], "stacked languages");
    for (const block of await page.locator("figure.code").all()) {
      if ((await block.locator("#raw-reply, #raw-headers").count()) === 0) ensure(await block.isVisible(), "each block is visible");
    }
    equal(await page.locator("button.copy, [role=tab]").count(), 0, "buttons that could do nothing");
    ensure((await page.locator("pre .s, pre .w").count()) > 50, "the code is highlighted");
    await page.setInputFiles("#try-image", lakeFile);
    await page.getByRole("button", { name: "Upload", exact: true }).click();
    await page.waitForURL(`${base}/image/v2/`);
    const reply = JSON.parse(await page.locator("pre").textContent());
    equal(reply.status, "success", "the reply");
    const stored = Buffer.from(await (await fetch(reply.url)).arrayBuffer());
    ensure(stored.equals(lake), "what is stored is what was chosen");
    await visitor.leave();
  },

  async "a keyboard reaches everything, and sees where it is"(browser) {
    const visitor = await Visitor.arrive(browser);
    await visitor.open(DOCS);
    const { page } = visitor;
    await page.keyboard.press("Tab");
    equal(await page.evaluate(() => document.activeElement.className), "skip", "the first stop");
    ensure((await page.locator(".skip").boundingBox()).x >= 0, "it comes into sight");
    await page.keyboard.press("Enter");
    equal(await page.evaluate(() => document.activeElement.id), "content", "it leads past the contents");
    const reached = new Set();
    for (;;) {
      await page.keyboard.press("Tab");
      // Past the last stop lies the browser's own frame.
      if (await page.evaluate(() => document.activeElement === document.body)) break;
      const { name, marked } = await page.evaluate(() => {
        const { activeElement: element } = document;
        const style = getComputedStyle(element);
        return { name: element.id || element.className || element.textContent, marked: style.outlineStyle !== "none" };
      });
      ensure(marked, `the focus on ${name} is marked`);
      reached.add(name);
    }
    for (const name of ["copy", "try-id", "try-token", "try-duration", "try-image", "try-url", "Upload", "ShareX", "OpenAPI"]) {
      ensure(reached.has(name), `${name} is reached`);
    }
    // Enter in a field sends the form.
    await page.fill("#try-url", "http://127.0.0.1/image.jpg");
    await page.keyboard.press("Enter");
    await page.locator(".reply").waitFor({ state: "visible" });
    visitor.complaints = visitor.complaints.filter((text) => !/status of 400/.test(text));
    await visitor.leave();
  },

  async "every link leads somewhere, and every download can be saved"(browser) {
    const visitor = await Visitor.arrive(browser);
    await visitor.open(DOCS);
    const links = await visitor.page.locator("a[href]").evaluateAll((all) => all.map((link) => link.getAttribute("href")));
    const paths = links.filter((link) => link.startsWith("/"));
    ensure(paths.length >= 6, `downloads: ${paths}`);
    for (const link of new Set(links)) {
      if (link.startsWith("#")) {
        equal(await visitor.page.locator(`[id="${link.slice(1)}"]`).count(), 1, `the target of ${link}`);
      } else if (link.startsWith("/")) {
        const reply = await fetch(base + link);
        equal(reply.status, 200, link);
        ensure((await reply.text()).includes(new URL(base).host), `${link} is made for this site`);
      } else {
        ensure(/^mailto:/.test(link), link);
      }
    }
    const [saved] = await Promise.all([
      visitor.page.waitForEvent("download"),
      visitor.page.getByRole("link", { name: "Download Postman Collection" }).click(),
    ]);
    equal(saved.suggestedFilename(), "corenexis-cdn.postman_collection.json", "the name of the download");
    equal(JSON.parse(readFileSync(await saved.path())).variable[0].value, base, "where it uploads to");
    await visitor.leave();
  },
};

async function equalPanels(language, panels) {
  await until(`${language} is shown`, async () => (await panels()).join() === `panel-0-${language},panel-1-${language}`);
}
