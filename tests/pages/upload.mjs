// The upload page and "My images", as people use them.
import { readFileSync } from "node:fs";
import { base, ensure, equal, until, upload, Visitor } from "./browser.mjs";

const UPLOAD = "/image/upload/";
const { env } = process;
const plans = Object.fromEntries(
  ["FREE", "3M", "LIFETIME"].map((name) => [name, { client_id: env[`CDN_${name}_ID`], client_token: env[`CDN_${name}_TOKEN`] }]),
);
const sample = (name) => new URL(`../samples/${name}`, import.meta.url).pathname;
const SAMPLES = ["lake.jpg", "badge.png", "spinner.gif", "lake.webp"];
const badge = readFileSync(sample("badge.png"));

/** Different images: the bytes of a PNG may be followed by others. */
const badges = (number) => Array.from({ length: number }, (_, serial) => ({ name: `badge-${serial}.png`, mimeType: "image/png", buffer: Buffer.concat([badge, Buffer.from(String(serial))]) }));

/** A visitor of the page who is signed in; `options` are those of a browser context. */
const signedIn = async (browser, client, { hash = "", ...options } = {}) => {
  const visitor = await Visitor.arrive(browser, options);
  await visitor.open(UPLOAD + hash);
  await enter(visitor.page, client);
  await visitor.page.locator("#sign-out").waitFor();
  if (!hash) await visitor.page.locator("#durations input").first().waitFor({ state: "attached" });
  return visitor;
};

const enter = async (page, { client_id, client_token }) => {
  await page.getByLabel("Client ID").fill(client_id);
  await page.getByLabel("Client token").fill(client_token);
  await page.getByRole("button", { name: "Sign in" }).click();
};

const lines = (page, state) => page.locator(`.upload${state ? `[data-state="${state}"]` : ""}`);
const states = (page) => lines(page).locator(".state").allTextContents();
const settled = (page, number) =>
  until(`${number} uploads are stored`, async () => (await lines(page, "stored").count()) === number).catch(async (error) => {
    throw new Error(`${error.message}: ${JSON.stringify(await states(page))}`);
  });
const served = async (path) => (await fetch(`${base}/p/${path}`)).status;
const pathsOf = (page) => lines(page, "stored").locator(".name a").evaluateAll((all) => all.map((link) => link.search.slice("?img=".length)));
/** Forgets complaints about replies that a test provokes. */
const provoke = (visitor, pattern) => {
  visitor.complaints = visitor.complaints.filter((text) => !pattern.test(text));
};

/** A data transfer as the system's clipboard or a drag gives it. */
const transfer = (page, { file, text, uri }) =>
  page.evaluateHandle(
    ({ file, text, uri }) => {
      const data = new DataTransfer();
      if (file) data.items.add(new File([Uint8Array.from(file.bytes)], file.name, { type: file.type }));
      if (text) data.setData("text/plain", text);
      if (uri) data.setData("text/uri-list", uri);
      return data;
    },
    { file, text, uri },
  );
const paste = async (page, what) => {
  const data = await transfer(page, what);
  await page.evaluate((clipboardData) => document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true })), data);
};
const file = { bytes: [...badge], name: "dropped.png", type: "image/png" };

export const checks = {
  async "credentials are checked, kept for the window only, and forgotten by signing out"(browser) {
    const visitor = await Visitor.arrive(browser);
    const { page } = visitor;
    const asked = [];
    page.on("request", (request) => asked.push(request.url()));
    await visitor.open(UPLOAD);
    for (const [wrong, says, field] of [
      [{ ...plans["3M"], client_id: "nobody" }, "There is no client with this ID", "client-id"],
      [{ ...plans["3M"], client_token: "0".repeat(32) }, "The token is wrong", "client-token"],
    ]) {
      await enter(page, wrong);
      await until(says, async () => (await page.locator("#sign-in-failure").textContent()).startsWith(says));
      equal(await page.evaluate(() => document.activeElement.id), field, "the focus");
    }
    await enter(page, plans["3M"]);
    await page.locator("#view-upload").waitFor();
    const stored = () => page.evaluate(() => [sessionStorage.length, Object.values(localStorage).join().includes(document.querySelector("#client-token").value || "token")]);
    equal((await stored())[0], 1, "what the window keeps");
    equal(await page.evaluate(() => localStorage.getItem("corenexis.client")), null, "what the device keeps");
    await page.reload();
    await page.locator("#view-upload").waitFor();
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.locator("#view-sign-in").waitFor();
    equal(await page.evaluate(() => [sessionStorage.length, localStorage.getItem("corenexis.client")]), [0, null], "what is left");
    equal(await page.inputValue("#client-token"), "", "the token's field");

    await page.getByLabel("Stay signed in on this device").check();
    await enter(page, plans["3M"]);
    await page.locator("#view-upload").waitFor();
    equal(await page.evaluate(() => [sessionStorage.length, localStorage.getItem("corenexis.client") !== null]), [0, true], "kept on the device");
    await page.getByRole("button", { name: "Sign out" }).click();
    equal(await page.evaluate(() => localStorage.getItem("corenexis.client")), null, "and forgotten");
    for (const url of asked) ensure(!url.includes(plans["3M"].client_token), url);
    provoke(visitor, /status of 403/);
    await visitor.leave();
  },

  async "password managers find the fields of the form"(browser) {
    const visitor = await Visitor.arrive(browser);
    await visitor.open(UPLOAD);
    const fields = await visitor.page.locator("#sign-in input:visible:not([type=checkbox])").evaluateAll((all) => all.map(({ autocomplete, type }) => [autocomplete, type]));
    equal(fields, [["username", "text"], ["current-password", "password"]], "the fields");
    await visitor.leave();
  },

  async "an invitation fills in the ID and leaves the address bar"(browser) {
    const visitor = await Visitor.arrive(browser);
    await visitor.open(`${UPLOAD}#id=shop.example`);
    equal(await visitor.page.inputValue("#client-id"), "shop.example", "the ID");
    equal(await visitor.page.evaluate(() => document.activeElement.id), "client-token", "the focus");
    equal(visitor.page.url(), base + UPLOAD, "the address");
    await visitor.leave();
  },

  async "many files are uploaded, three at a time, and their links copied in each form"(browser) {
    const visitor = await signedIn(browser, plans["3M"]);
    const { page } = visitor;
    await page.evaluate(() => {
      let running = 0;
      globalThis.most = 0;
      const { send } = XMLHttpRequest.prototype;
      XMLHttpRequest.prototype.send = function (body) {
        globalThis.most = Math.max(globalThis.most, (running += 1));
        this.addEventListener("readystatechange", () => (running -= this.readyState === XMLHttpRequest.DONE));
        send.call(this, body);
      };
    });
    await page.setInputFiles("#files", [...SAMPLES.map(sample), ...SAMPLES.map(sample)]);
    await settled(page, 8);
    equal(await page.evaluate(() => globalThis.most), 3, "at a time");
    equal(await page.locator("#total-text").textContent(), "8 of 8 images uploaded", "the total");
    ensure(/^1200 × 675 · 52 KiB · expires in [67] days$/.test((await states(page))[0]), (await states(page))[0]);
    equal(await lines(page).locator(".preview img").evaluateAll((all) => all.every((image) => image.naturalWidth > 0)), true, "previews");
    const paths = await pathsOf(page);
    for (const path of paths) equal(await served(path), 200, path);
    ensure(Buffer.from(await (await fetch(`${base}/p/${paths[0]}`)).arrayBuffer()).equals(readFileSync(sample("lake.jpg"))), "the bytes");
    for (const [format, of] of Object.entries({
      Link: (path) => `${base}/p/${path}`,
      "Viewer page": (path) => `${base}/view/?img=${path}`,
      "Direct link": (path) => `${base}/p/${path}`,
      HTML: (path) => `<a href="${base}/view/?img=${path}"><img src="${base}/p/${path}" alt=""></a>`,
      Markdown: (path) => `[![image](${base}/p/${path})](${base}/view/?img=${path})`,
      BBCode: (path) => `[url=${base}/view/?img=${path}][img]${base}/p/${path}[/img][/url]`,
    })) {
      await page.locator("#upload-format").selectOption({ label: format });
      await lines(page).first().getByRole("button", { name: "Copy" }).click();
      await until(format, async () => (await visitor.clipboard()) === of(paths[0]));
      await page.locator("#copy-all").click();
      await until(`all as ${format}`, async () => (await visitor.clipboard()) === paths.map(of).join("\n"));
      await until("the button has its name again", async () => (await page.locator("#copy-all").textContent()) === "Copy 8 links");
    }
    await page.locator("#upload-format").selectOption({ label: "Link" });
    await lines(page).first().getByRole("button", { name: "Delete" }).click();
    await lines(page, "deleted").waitFor();
    equal(await served(paths[0]), 404, "deleted at once");
    await page.getByRole("button", { name: "Clear the list" }).click();
    equal(await lines(page).count(), 0, "the list");
    await visitor.leave();
  },

  async "images are dropped and pasted, URLs too"(browser) {
    const visitor = await signedIn(browser, plans["3M"]);
    const { page } = visitor;
    const drop = page.locator("#drop");
    for (const type of ["dragenter", "dragover"]) await drop.dispatchEvent(type, { dataTransfer: await transfer(page, { file }) });
    ensure((await drop.getAttribute("class")).includes("over"), "the target is marked");
    await page.locator("footer").dispatchEvent("drop", { dataTransfer: await transfer(page, { file }) });
    ensure(!(await drop.getAttribute("class")).includes("over"), "the mark is gone");
    await settled(page, 1);
    await paste(page, { file: { ...file, name: "image.png" } });
    await settled(page, 2);
    equal(await lines(page).locator(".name").allTextContents(), ["dropped.png", "image.png"], "the names");

    // The demo downloads from public addresses only.
    const url = "http://127.0.0.1/image.jpg";
    await paste(page, { text: url });
    await page.locator("body").dispatchEvent("drop", { dataTransfer: await transfer(page, { uri: url }) });
    await page.getByLabel("Upload from a URL").fill(url);
    await page.getByRole("button", { name: "Add" }).click();
    await until("three refusals", async () => (await lines(page, "failed").count()) === 3);
    for (const text of await lines(page, "failed").locator(".state").allTextContents()) ensure(text.startsWith("The server could not download this URL."), text);
    await page.getByLabel("Upload from a URL").fill("ftp://example.com/a.png");
    await page.keyboard.press("Enter");
    ensure((await page.locator("#url-failure").textContent()).includes("http://"), "what is wrong with the URL");
    equal(await lines(page).count(), 5, "nothing was added");
    provoke(visitor, /status of 400/);
    await visitor.leave();
  },

  async "a file that the plan refuses is not sent, and one that the server refuses says why"(browser) {
    const visitor = await signedIn(browser, plans.FREE);
    const { page } = visitor;
    let sent = 0;
    page.on("request", (request) => (sent += request.method() === "POST"));
    equal(await page.locator("#limits").textContent(), "JPEG, PNG, GIF or WebP, up to 2 MiB each", "the limits");
    equal(await page.locator("#durations label").allTextContents(), ["7 days", "1 month"], "the durations");
    await page.setInputFiles("#files", [
      { name: "large.png", mimeType: "image/png", buffer: Buffer.concat([badge, Buffer.alloc(3 << 20)]) },
      { name: "notes.txt", mimeType: "text/plain", buffer: Buffer.from("notes") },
    ]);
    await until("two refusals", async () => (await lines(page, "failed").count()) === 2);
    equal(await states(page), ["3 MiB is larger than your plan allows: 2 MiB.", "This is not a JPEG, PNG, GIF or WebP image, or it is damaged."], "why");
    equal(sent, 0, "requests");
    await page.setInputFiles("#files", [{ name: "damaged.png", mimeType: "image/png", buffer: badge.subarray(0, 500) }]);
    await until("the server's refusal", async () => (await lines(page, "failed").count()) === 3);
    equal(sent, 1, "requests");
    await lines(page).nth(0).getByRole("button", { name: "Remove" }).click();
    equal(await lines(page).count(), 2, "removed");
    provoke(visitor, /status of 400/);
    await visitor.leave();
  },

  async "an upload is cancelled and tried again"(browser) {
    const visitor = await signedIn(browser, plans["3M"]);
    const { page } = visitor;
    const line = await visitor.context.newCDPSession(page);
    const throttle = (uploadThroughput) => line.send("Network.emulateNetworkConditions", { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput });
    await line.send("Network.enable");
    await throttle(4096);
    await page.setInputFiles("#files", Array(5).fill(sample("lake.jpg")));
    await until("a percentage", async () => /^\d+ %$/.test((await states(page))[0]));
    equal(await lines(page, "sending").count(), 3, "three at a time");
    ensure((await page.locator("#total").getAttribute("value")) > 0, "the bar of all");
    await lines(page).first().getByRole("button", { name: "Cancel" }).click();
    await until("the next begins", async () => (await lines(page).nth(3).getAttribute("data-state")) === "sending");
    await page.getByRole("button", { name: "Cancel all" }).click();
    equal(await lines(page, "cancelled").count(), 5, "all are cancelled");
    await throttle(-1);
    await lines(page).first().getByRole("button", { name: "Upload" }).click();
    await settled(page, 1);
    equal(await page.locator("#total-text").textContent(), "1 of 1 image uploaded", "the total");
    await visitor.leave();
  },

  async "uploads wait for the server and for the connection"(browser) {
    const visitor = await signedIn(browser, plans["3M"]);
    const { page } = visitor;
    let busy = true;
    await page.route("**/image/v2/", (route) => {
      if (!busy) return route.continue();
      busy = false;
      return route.fulfill({ status: 429, headers: { "Retry-After": "1" }, contentType: "application/json", body: '{"error":"Too many requests"}' });
    });
    await page.setInputFiles("#files", sample("badge.png"));
    await until("it waits", async () => (await states(page))[0] === "The server is busy. It goes on in 1 second.");
    await settled(page, 1);
    await page.unroute("**/image/v2/");

    await visitor.context.setOffline(true);
    await page.setInputFiles("#files", sample("lake.webp"));
    await until("it waits", async () => (await lines(page).nth(1).getAttribute("data-state")) === "waiting");
    await visitor.context.setOffline(false);
    await settled(page, 2);
    provoke(visitor, /status of 429|ERR_INTERNET_DISCONNECTED/);
    await visitor.leave();
  },

  async "an upload whose reply is lost is sent again with the same key"(browser) {
    const visitor = await signedIn(browser, plans["3M"]);
    const { page } = visitor;
    const keys = [];
    await page.route("**/image/v2/", async (route) => {
      keys.push(route.request().headers()["idempotency-key"]);
      if (keys.length > 1) return route.continue();
      return route.abort("connectionreset");
    });
    await page.setInputFiles("#files", sample("badge.png"));
    await settled(page, 1);
    equal([keys.length, keys[0] === keys[1], /^[0-9a-f]{32}$/.test(keys[0])], [2, true, true], "the keys");
    // Another duration is another upload, so it has another key.
    await page.getByLabel("1 month").check();
    await page.setInputFiles("#files", sample("badge.png"));
    await settled(page, 2);
    ensure(keys[2] !== keys[0], "a key of its own");
    provoke(visitor, /ERR_CONNECTION_RESET/);
    await visitor.leave();
  },

  async "the end of the quota stops the queue and says until when"(browser) {
    const visitor = await signedIn(browser, plans.FREE);
    const { page } = visitor;
    const left = Number((await page.locator("#quota").textContent()).match(/\d+/)[0]);
    await page.setInputFiles("#files", badges(left + 5));
    await until("the queue ends", async () => (await lines(page, "failed").count()) === 5, 60000);
    equal(await lines(page, "stored").count(), left, "stored");
    for (const text of await lines(page, "failed").locator(".state").allTextContents()) {
      ensure(/^Your uploads of today are used up\. You can go on in \d+ (hours?|minutes?)\.$/.test(text), text);
    }
    await until("what is left", async () => (await page.locator("#quota").textContent()) === "0 uploads left today");
    provoke(visitor, /status of 429/);
    await visitor.leave();
  },

  async "my images are found, selected, copied and deleted"(browser) {
    const visitor = await signedIn(browser, plans["3M"]);
    const { page } = visitor;
    await page.setInputFiles("#files", badges(12));
    await settled(page, 12);
    const uploaded = await pathsOf(page);
    await page.getByRole("link", { name: "My images" }).click();
    const tiles = page.locator("#grid li");
    await tiles.nth(11).waitFor();
    const paths = () => tiles.locator("a").evaluateAll((all) => all.map((link) => link.search.slice("?img=".length)));
    equal((await paths()).slice(0, 12).sort(), [...uploaded].sort(), "the newest come first");
    ensure(/^\d+ of 1,000 uploads today$/.test(await page.locator("#today-text").textContent()), "today's quota");
    ensure(/^expires in [67] days$/.test(await tiles.first().locator(".expiry").textContent()), "the expiry");
    // A range with Shift, and one more.
    await tiles.nth(1).getByRole("checkbox").click();
    await tiles.nth(4).getByRole("checkbox").click({ modifiers: ["Shift"] });
    equal(await page.locator("#selected-text").textContent(), "4 selected", "the range");
    const chosen = (await paths()).slice(1, 5);
    await page.locator("#mine-format").selectOption({ label: "Markdown" });
    await page.locator("#copy-selected").click();
    const markdown = (path) => `[![image](${base}/p/${path})](${base}/view/?img=${path})`;
    await until("the links", async () => (await visitor.clipboard()) === chosen.map(markdown).join("\n"));
    await page.getByRole("button", { name: "Delete …" }).click();
    const question = page.getByRole("dialog", { name: "Delete 4 images?" });
    await question.getByRole("button", { name: "Keep" }).click();
    equal(await served(chosen[0]), 200, "kept");
    await page.getByRole("button", { name: "Delete …" }).click();
    await question.getByRole("button", { name: "Delete" }).click();
    await until("it says so", async () => (await page.locator("#said").textContent()) === "4 images deleted");
    for (const path of chosen) equal(await served(path), 404, path);
    ensure(!(await page.locator("#selection").isVisible()), "nothing is selected");

    await page.getByLabel("Uploaded on").fill("2020-01-01");
    await until("another day", async () => (await page.locator("#empty").textContent()) === "No images of this day.");
    await page.getByRole("button", { name: "All days" }).click();
    await tiles.nth(7).waitFor();
    await page.reload();
    await tiles.nth(7).waitFor();
    await visitor.leave();
  },

  async "without JavaScript the form uploads and shows the reply"(browser) {
    const visitor = await Visitor.arrive(browser, { javaScriptEnabled: false });
    const { page } = visitor;
    await visitor.open(UPLOAD);
    equal(await page.locator("button:visible").allTextContents(), ["Upload"], "the buttons");
    await page.getByLabel("Client ID").fill(plans["3M"].client_id);
    await page.getByLabel("Client token").fill(plans["3M"].client_token);
    await page.getByLabel("Image (").setInputFiles(sample("badge.png"));
    equal(await visitor.overflow(), 0, "pixels too wide");
    await page.getByRole("button", { name: "Upload" }).click();
    await page.waitForURL(`${base}/image/v2/`);
    const reply = JSON.parse(await page.locator("body").textContent());
    equal(await served(reply.path), 200, "the image");
    await visitor.leave();
  },

  async "axe-core finds no violation in any state of the page"(browser) {
    for (const colorScheme of ["light", "dark"]) {
      for (const width of [320, 390, 1280]) {
        const visitor = await signedIn(browser, plans["3M"], { colorScheme, viewport: { width, height: 844 } });
        const { page } = visitor;
        const holds = async (what) => {
          equal(await visitor.violations(), [], `${what}, ${colorScheme}, ${width} px`);
          equal(await visitor.overflow(), 0, `${what}, ${width} px: pixels too wide`);
          const small = await page
            .locator("button:visible, .choice label:visible, select:visible, .tick:visible, .pick:visible")
            .evaluateAll((all) => all.filter((element) => element.getBoundingClientRect().height < 44).map((element) => element.outerHTML));
          if (width < 400) equal(small, [], `${what}: smaller than a finger`);
        };
        await holds("upload");
        await page.setInputFiles("#files", [...badges(1), { name: "notes.txt", mimeType: "text/plain", buffer: Buffer.from("x") }]);
        await settled(page, 1);
        await holds("list");
        await page.getByRole("link", { name: "My images" }).click();
        await page.locator("#grid input").first().check();
        await holds("my images");
        await page.getByRole("button", { name: "Delete …" }).click();
        await holds("question");
        await visitor.leave();
      }
    }
  },

  async "the page speaks the languages that have a file"(browser) {
    for (const [locale, choose, stored] of [["de-DE", "Bilder auswählen", /^1 von 1 Bild hochgeladen$/], ["es-MX", "Elegir imágenes", /^1 de 1 imagen subida$/], ["zh-CN", "选择图片", /^已上传 1 \/ 1 张图片$/]]) {
      const visitor = await Visitor.arrive(browser, { locale, viewport: { width: 320, height: 844 } });
      const { page } = visitor;
      await visitor.open(UPLOAD);
      await page.locator("#client-id").fill(plans["3M"].client_id);
      await page.locator("#client-token").fill(plans["3M"].client_token);
      await page.locator("#sign-in-button").click();
      await page.getByRole("button", { name: choose }).waitFor();
      await page.setInputFiles("#files", sample("badge.png"));
      await settled(page, 1);
      ensure(stored.test(await page.locator("#total-text").textContent()), await page.locator("#total-text").textContent());
      equal([await visitor.overflow(), await visitor.violations()], [0, []], locale);
      await visitor.leave();
    }
  },

  async "the keyboard alone uploads, copies and deletes"(browser) {
    const visitor = await signedIn(browser, plans["3M"]);
    const { page } = visitor;
    // Playwright catches dialogs from the first listener on, but not at once.
    page.on("filechooser", () => {});
    await page.waitForTimeout(500);
    const focused = () => page.evaluate(() => document.activeElement.textContent.trim() || document.activeElement.value);
    const tab_to = async (name) => {
      for (let presses = 0; presses < 40; presses += 1) {
        if ((await focused()) === name) return;
        await page.keyboard.press("Tab");
      }
      throw new Error(`${name} is not reached`);
    };
    equal(await focused(), "Choose images", "the focus after signing in");
    const [chooser] = await Promise.all([page.waitForEvent("filechooser"), page.keyboard.press("Enter")]);
    await chooser.setFiles(sample("badge.png"));
    await settled(page, 1);
    await tab_to("7D");
    await page.keyboard.press("ArrowRight");
    equal(await focused(), "1M", "the duration");
    await tab_to("Delete");
    await page.keyboard.press("Enter");
    await lines(page, "deleted").waitFor();
    equal(await focused(), "Remove", "the focus stays in the line");
    await page.keyboard.press("Enter");
    equal(await focused(), "Choose images", "and goes back when it is gone");
    await visitor.leave();
  },

  async "the page comes within 60 KiB, and nothing moves while it loads"(browser) {
    const visitor = await Visitor.arrive(browser);
    const { page } = visitor;
    const line = await visitor.context.newCDPSession(page);
    await line.send("Network.enable");
    await line.send("Network.emulateNetworkConditions", { offline: false, latency: 40, downloadThroughput: 125000, uploadThroughput: 125000 });
    await page.addInitScript(() => {
      globalThis.shifts = 0;
      new PerformanceObserver((list) => list.getEntries().forEach(({ value }) => (globalThis.shifts += value))).observe({ type: "layout-shift", buffered: true });
    });
    await visitor.open(UPLOAD);
    await page.waitForLoadState("networkidle");
    const { bytes, paint, shifts } = await page.evaluate(() => ({
      bytes: [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")].reduce((sum, { transferSize }) => sum + transferSize, 0),
      paint: Math.round(performance.getEntriesByName("first-contentful-paint")[0].startTime),
      shifts: globalThis.shifts,
    }));
    ensure(bytes > 5000 && bytes < 60 * 1024, `${bytes} bytes`);
    equal(shifts, 0, "layout shifts");
    console.log(`   ${bytes} bytes; visible after ${paint} ms at 1 Mbit/s`);
    await visitor.leave();
  },

  async "ten thousand images are scrolled to the end"(browser) {
    const client = plans.LIFETIME;
    const have = 10_000;
    const images = badges(have);
    let serial = 0;
    const work = async () => {
      while (serial < have) {
        const { name, buffer } = images[serial++];
        await upload(client, "7D", name, buffer);
      }
    };
    await Promise.all(Array.from({ length: 16 }, work));
    const visitor = await signedIn(browser, client, { hash: "#mine" });
    const { page } = visitor;
    const tiles = page.locator("#grid li");
    await tiles.nth(99).waitFor();
    const loaded = () => page.evaluate(() => document.querySelectorAll("#grid li").length);
    await page.evaluate(() => {
      globalThis.slow = 0;
      new PerformanceObserver((list) => list.getEntries().forEach(({ duration }) => (globalThis.slow = Math.max(globalThis.slow, duration)))).observe({ type: "longtask" });
    });
    await page.locator("#view-mine a").first().focus();
    await until(
      "the end of the list",
      async () => {
        await page.keyboard.press("End");
        return (await loaded()) >= have && !(await page.locator("#more").isVisible());
      },
      300000,
    );
    const [fetched, slow] = await page.evaluate(() => [[...document.querySelectorAll("#grid img")].filter((image) => image.complete && image.naturalWidth).length, globalThis.slow]);
    console.log(`   ${await loaded()} tiles; ${fetched} pictures loaded; the longest task took ${Math.round(slow)} ms`);
    const paths = await tiles.locator("a").evaluateAll((all) => all.map((link) => link.search));
    equal(new Set(paths).size, paths.length, "each image once");
    await page.getByLabel("Select all shown").check();
    equal(await page.locator("#selected-text").textContent(), `${paths.length.toLocaleString("en")} selected`, "all are selected");
    await visitor.leave();
  },
};
