// The viewer page and its page for what is not there.
import { base, ensure, equal, until, Visitor } from "./browser.mjs";

const view = (path) => `/view/?img=${path}`;

/** The four things that people paste, by the id of their field. */
const pasted = (path) => ({
  page: `${base}/view/?img=${path}`,
  direct: `${base}/p/${path}`,
  html: `<a href="${base}/view/?img=${path}"><img src="${base}/p/${path}" alt=""></a>`,
  markdown: `[![image](${base}/p/${path})](${base}/view/?img=${path})`,
  bbcode: `[url=${base}/view/?img=${path}][img]${base}/p/${path}[/img][/url]`,
});

const facts = (page) =>
  page.locator(".facts div:visible").evaluateAll((all) =>
    Object.fromEntries(all.map((fact) => [fact.querySelector("dt").textContent, fact.querySelector("dd").textContent])),
  );

/** What the page has to say of lake.jpg, stored for 7 days. */
function ensureFacts(found, lake) {
  const { Expires: expires, Uploaded: uploaded, ...others } = found;
  equal(others, { Dimensions: "1200 × 675", Format: "JPEG", Size: `${Math.floor(lake.length / 1024)} KiB` }, "the facts");
  ensure(/^\d{1,2} [A-Z][a-z]+ 20\d\d in [67] days$/.test(expires), `Expires: ${expires}`);
  ensure(/^\d{1,2} [A-Z][a-z]+ 20\d\d$/.test(uploaded), `Uploaded: ${uploaded}`);
}

/** The checks by their names; each takes the browser and the samples. */
export const checks = {
  async "every link is copied"(browser, { week }) {
    const visitor = await Visitor.arrive(browser);
    await visitor.open(view(week));
    const { page } = visitor;
    for (const [id, text] of Object.entries(pasted(week))) {
      equal(await page.inputValue(`#${id}`), text, id);
      const button = page.locator(`.copyable [data-copy="${id}"]`);
      await button.click();
      await until("the button says so", async () => (await button.textContent()) === "Copied");
      equal(await visitor.clipboard(), text, "the clipboard");
    }
    await page.evaluate(() => navigator.clipboard.writeText(""));
    await page.getByRole("button", { name: "Copy link" }).click();
    await until("the link of the page", async () => (await visitor.clipboard()) === pasted(week).page);
    equal(await page.locator("#said").textContent(), "Copied to the clipboard", "what is said");
    await visitor.leave();
  },

  async "the image is large, centred and opens in full size"(browser, { week }) {
    const visitor = await Visitor.arrive(browser, { viewport: { width: 800, height: 700 } });
    await visitor.open(view(week));
    const { page } = visitor;
    const box = await page.locator("#image").boundingBox();
    ensure(box.width > 600 && Math.abs(box.x + box.width / 2 - 400) < 10, `the image is at ${JSON.stringify(box)}`);
    const facts_at = await page.locator(".facts").boundingBox();
    ensure(facts_at.y + facts_at.height < 700, "the facts are in the first view");
    // With the keyboard: the image is a link, Enter opens it, Escape closes it and the focus is where it was.
    await page.locator("#stage").focus();
    await page.keyboard.press("Enter");
    ensure(await page.locator("#zoom").isVisible(), "Enter opens");
    equal(await page.locator(".scroller img").evaluate((image) => image.clientWidth), 1200, "the full width");
    const left = () => page.locator(".scroller").evaluate((scroller) => scroller.scrollLeft);
    const before = await left();
    await page.keyboard.press("ArrowRight");
    await until("the arrow scrolls", async () => (await left()) > before);
    await page.keyboard.press("Escape");
    ensure(!(await page.locator("#zoom").isVisible()), "Escape closes");
    equal(await page.evaluate(() => document.activeElement.id), "stage", "the focus");
    // With the mouse: a click opens at that point, dragging moves, a click closes.
    await page.mouse.click(box.x + box.width - 20, box.y + box.height / 2);
    ensure((await left()) > before, "the point that was clicked is in sight");
    const from = await left();
    await page.mouse.move(300, 300);
    await page.mouse.down();
    await page.mouse.move(500, 300, { steps: 4 });
    await page.mouse.up();
    ensure((await left()) < from, "dragging moves the image");
    ensure(await page.locator("#zoom").isVisible(), "dragging does not close");
    await page.mouse.click(300, 300);
    ensure(!(await page.locator("#zoom").isVisible()), "a click closes");
    await visitor.leave();
  },

  async "full screen on a phone: fitted, enlarged by a double tap and by two fingers, moved by one"(browser, { week }) {
    const phone = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, deviceScaleFactor: 3 };
    const visitor = await Visitor.arrive(browser, phone);
    await visitor.open(view(week));
    const { page } = visitor;
    await page.locator("#stage").tap();
    await page.locator("#zoom").waitFor({ state: "visible" });
    const box = () => page.locator(".scroller img").boundingBox();
    await until("the image", async () => (await box())?.width > 0);
    const fitted = await box();
    equal([fitted.width, Math.round(fitted.x)], [390, 0], "the whole image fits");
    // On a busy machine the second tap may come too late for a double tap.
    const twice = (what, happened) => until(what, async () => {
      await page.touchscreen.tap(100, 422);
      await page.touchscreen.tap(100, 422);
      return happened();
    });
    await twice("a double tap enlarges", async () => (await box()).width > 1000);
    ensure((await box()).x > -390, "around the point that was tapped");
    const touch = await visitor.context.newCDPSession(page);
    const send = (type, ...points) => touch.send("Input.dispatchTouchEvent", { type, touchPoints: points.map(([x, y], id) => ({ x, y, id })) });
    const before = await box();
    await send("touchStart", [300, 422]);
    await send("touchMove", [200, 422]);
    await send("touchEnd");
    await until("a finger moves it", async () => (await box()).x < before.x - 50);
    await new Promise((resolve) => setTimeout(resolve, 400));
    await twice("a double tap fits it again", async () => Math.round((await box()).width) === 390);
    await send("touchStart", [180, 422], [210, 422]);
    await send("touchMove", [150, 422], [240, 422]);
    await send("touchMove", [120, 422], [270, 422]);
    await send("touchEnd");
    await until("two fingers enlarge", async () => (await box()).width > 800);
    equal(await visitor.overflow(), 0, "pixels too wide");
    // Right behind a gesture, Chromium may take a tap for the end of it.
    await until("it is closed", async () => {
      await page.getByRole("button", { name: "Close" }).tap({ timeout: 1000 }).catch(() => {});
      return !(await page.locator("#zoom").isVisible());
    });
    await visitor.leave();
  },

  async "the page speaks the language of the browser, and English where it has no other"(browser, { week }) {
    for (const [locale, lang, download, uploaded, expires] of [
      ["de-AT", "de", "Herunterladen", "Hochgeladen", /^\d{1,2}\. [A-Z]\S+ 20\d\d in [67] Tagen$/],
      ["es", "es", "Descargar", "Subida", /^\d{1,2} de [a-z]+ de 20\d\d dentro de [67] días$/],
      ["zh-TW", "zh", "下载", "上传时间", /^20\d\d年\d{1,2}月\d{1,2}日 [67]天后$/],
      ["fr-FR", "en", "Download", "Uploaded", /days$/],
    ]) {
      const visitor = await Visitor.arrive(browser, { locale });
      await visitor.open(view(week));
      const { page } = visitor;
      await page.getByRole("link", { name: download, exact: true }).waitFor();
      equal(await page.getAttribute("html", "lang"), lang, locale);
      const found = await facts(page);
      ensure(uploaded in found, `${locale}: ${JSON.stringify(found)}`);
      ensure(expires.test(await page.locator("#expiry dd").textContent()), `${locale}: ${await page.locator("#expiry dd").textContent()}`);
      equal(await visitor.violations(), [], locale);
      await visitor.leave();
    }
  },

  async "an icon keeps its corners"(browser, { icon }) {
    const visitor = await Visitor.arrive(browser);
    await visitor.open(view(icon));
    const { width, radius } = await visitor.page.locator("#image").evaluate((image) => {
      const { width, borderTopLeftRadius: radius } = getComputedStyle(image);
      return { width: parseFloat(width), radius };
    });
    equal(width, 16, "the width");
    ensure(/^min\(6px, 3%\)$|^3%$|^0?\.\d+px$/.test(radius), radius);
    await visitor.leave();
  },

  async "a link that mail software rebuilt opens the page"(browser, { week }) {
    const visitor = await Visitor.arrive(browser);
    const rebuilt = new URLSearchParams({ utm_source: "mail", img: week, utm_medium: "a/b" });
    ensure(rebuilt.toString().includes("%2F"), "it is encoded");
    await visitor.open(`/view/?${rebuilt}`);
    equal(visitor.page.url(), base + view(week), "the address");
    equal(await visitor.page.locator("#image").evaluate((image) => image.naturalWidth), 1200, "the image");
    await visitor.leave();
  },

  async "the facts, the download and the report are there"(browser, { week, lake }) {
    const visitor = await Visitor.arrive(browser);
    await visitor.open(view(week));
    const { page } = visitor;
    ensureFacts(await facts(page), lake);
    const [saved] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "Download" }).click()]);
    equal(saved.suggestedFilename(), week.split("/").at(-1), "the name of the download");
    equal(
      await page.getByRole("link", { name: "Report this image" }).getAttribute("href"),
      `mailto:abuse@example.com?subject=Report:%20${week}&body=${encodeURIComponent(`${base}/view/?img=`)}${week}` +
        "%0D%0A%0D%0AWhat%20is%20wrong%20with%20this%20image%3A%0D%0A",
      "the report",
    );
    const address = encodeURIComponent(`${base}/view/?img=`) + week;
    const targets = await page.locator(".targets a").evaluateAll((all) => all.map((link) => link.href));
    equal(targets.length, 6, "share targets");
    for (const target of targets) ensure(target.endsWith(address), target);
    await visitor.leave();
  },

  async "other sites learn what to show"(browser, { week }) {
    const visitor = await Visitor.arrive(browser);
    await visitor.open(view(week));
    const meta = Object.fromEntries(
      await visitor.page.locator("meta[property], meta[name]").evaluateAll((all) =>
        all.map((tag) => [tag.getAttribute("property") ?? tag.name, tag.content]),
      ),
    );
    for (const [name, content] of Object.entries({
      "og:image": `${base}/p/${week}`,
      "og:url": `${base}/view/?img=${week}`,
      "og:image:type": "image/jpeg",
      "og:image:width": "1200",
      "og:image:height": "675",
      "og:description": "Stored for 7 days",
      "twitter:card": "summary_large_image",
      "twitter:image": `${base}/p/${week}`,
    })) {
      equal(meta[name], content, name);
    }
    await visitor.leave();
  },

  async "the page is whole without JavaScript"(browser, { week, lake }) {
    const visitor = await Visitor.arrive(browser, { javaScriptEnabled: false });
    await visitor.open(view(week));
    const { page } = visitor;
    ensureFacts(await facts(page), lake);
    for (const [id, text] of Object.entries(pasted(week))) equal(await page.inputValue(`#${id}`), text, id);
    equal(await page.locator("button:visible").count(), 0, "buttons that could do nothing");
    equal(await page.locator("#image").evaluate((image) => image.naturalWidth), 1200, "the image");
    await page.locator("#stage").click();
    await page.waitForURL(`${base}/p/${week}`);
    await visitor.leave();
  },

  async "a small, a transparent and a moving image are shown as they are"(browser, { small, moving, lasting }) {
    const visitor = await Visitor.arrive(browser);
    const { page } = visitor;
    for (const [path, width, format] of [[small, 160, "PNG"], [moving, 64, "GIF"], [lasting, 480, "WebP"]]) {
      await visitor.open(view(path));
      equal(await page.locator("#image").evaluate((image) => [image.naturalWidth, image.clientWidth]), [width, width], path);
      equal((await facts(page)).Format, format, "the format");
      // What is shown in full size already leads to the image itself.
      await page.locator("#stage").click();
      await page.waitForURL(`${base}/p/${path}`);
    }
    await visitor.open(view(lasting));
    equal((await facts(page)).Availability, "Never expires", "how long");
    await visitor.leave();
  },

  async "the address of the page works as the address of an image"(browser, { week }) {
    const visitor = await Visitor.arrive(browser);
    await visitor.page.setContent(`<img src="${base}${view(week)}" alt="">`);
    await until("the image", () => visitor.page.locator("img").evaluate((image) => image.naturalWidth === 1200));
    await visitor.leave();
  },

  async "a delete link asks, and deletes only then"(browser, { store }) {
    const { path, delete_url } = await store("7D", "badge.png");
    const visitor = await Visitor.arrive(browser, { missing: true });
    const { page } = visitor;
    const question = page.getByRole("dialog", { name: "Delete this image?" });
    const status = async () => (await fetch(`${base}/p/${path}`)).status;
    await page.goto(delete_url);
    await question.waitFor();
    equal(page.url(), base + view(path), "the address bar does not show the key");
    await question.getByRole("button", { name: "Keep it" }).click();
    equal(await status(), 200, "kept");
    await page.reload();
    await question.waitFor();
    equal(await visitor.violations(), [], "the question");
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: "Delete …" }).click();
    await visitor.context.setOffline(true);
    await question.getByRole("button", { name: "Delete" }).click();
    await until("it says why", async () => (await question.getByRole("alert").textContent()).startsWith("No reply."));
    await visitor.context.setOffline(false);
    await question.getByRole("button", { name: "Delete" }).click();
    await page.getByRole("heading", { name: "Image deleted" }).waitFor();
    equal(await status(), 404, "deleted");
    visitor.complaints = visitor.complaints.filter((text) => !text.includes("ERR_INTERNET_DISCONNECTED"));
    await visitor.leave();
  },

  async "a delete link with a wrong key says so"(browser, { week }) {
    const visitor = await Visitor.arrive(browser);
    await visitor.open(`${view(week)}#delete=${"0".repeat(32)}`);
    const question = visitor.page.getByRole("dialog", { name: "Delete this image?" });
    await question.getByRole("button", { name: "Delete" }).click();
    await until("it says why", async () => (await question.getByRole("alert").textContent()).includes("does not have the key"));
    visitor.complaints = visitor.complaints.filter((text) => !text.includes("status of 403"));
    await visitor.leave();
  },

  async "an image that was deleted or never there has a page that says so"(browser, { deleted }) {
    for (const path of [view(deleted), view("d/ap5/AbCdEfGhIj.png"), view("nonsense"), `/p/${deleted}`]) {
      const visitor = await Visitor.arrive(browser, { missing: true });
      const reply = await visitor.open(path);
      equal(reply.status(), 404, path);
      equal(await visitor.page.locator("h1").textContent(), "Image not found", "the heading");
      ensure((await visitor.page.locator("main").textContent()).includes("has expired, was deleted, or never existed"), "the reason");
      equal(await visitor.page.locator('meta[name="robots"]').getAttribute("content"), "noindex", "robots");
      await visitor.leave();
    }
  },
};
