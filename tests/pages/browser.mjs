// A browser whose every complaint is a failure: errors on the console, violations of the policy, requests to other hosts.
import { createRequire } from "node:module";

// The libraries lie where tests/pages/run installed them, not beside this file.
const library = createRequire(`${process.env.PAGES_TOOLS}/`);
const { chromium } = library("playwright-core");
const axe = library("axe-core").source;

export const base = process.env.CDN_URL;

/** Starts Chromium. */
export const launch = () =>
  chromium.launch({
    executablePath: process.env.PAGES_CHROMIUM,
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--no-proxy-server",
    ],
  });

/** A visitor: what they have, and what went wrong while they looked. */
export class Visitor {
  /** `options` are those of a browser context; `missing` is set where the page itself answers 404, which the console reports. */
  static async arrive(browser, { missing = false, ...options } = {}) {
    const visitor = new Visitor();
    visitor.complaints = [];
    visitor.context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
    await visitor.context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: base });
    await visitor.context.addInitScript(() => {
      addEventListener("securitypolicyviolation", (event) => {
        console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`);
      });
    });
    await visitor.context.route(
      (url) => url.origin !== base && url.protocol !== "data:",
      (route) => {
        visitor.complaints.push(`request to ${route.request().url()}`);
        return route.abort();
      },
    );
    visitor.page = await visitor.context.newPage();
    visitor.page.setDefaultTimeout(15000);
    visitor.page.on("console", (message) => {
      const { url } = message.location();
      // An image that is opened alone is shown by a page of the browser's own, whose style and script the image's policy forbids.
      const expected = url.startsWith(`${base}/p/`) || (missing && message.text().includes("404") && /\/(view\/\?|p\/)/.test(url));
      if (["error", "warning"].includes(message.type()) && !expected) visitor.complaints.push(`console: ${message.text()}`);
    });
    visitor.page.on("pageerror", (error) => visitor.complaints.push(`script: ${error.message}`));
    return visitor;
  }

  /** Opens a path of the demo and gives the reply. */
  async open(path) {
    return this.page.goto(base + path, { waitUntil: "load" });
  }

  /** Fails if anything complained, and closes the browser's window. */
  async leave() {
    await this.context.close();
    if (this.complaints.length) throw new Error(this.complaints.join("\n"));
  }

  /** What the clipboard holds. */
  clipboard() {
    return this.page.evaluate(() => navigator.clipboard.readText());
  }

  /** How many pixels the page is wider than the window. */
  overflow() {
    return this.page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  }

  /** The violations that axe-core finds, of WCAG 2.2 A and AA and of its best practices. */
  async violations() {
    await this.page.evaluate(axe);
    const found = await this.page.evaluate(() =>
      axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }),
    );
    return found.violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => node.html).join(" ")}`);
  }
}

/** Fails with what is not as it should be. */
export const equal = (actual, expected, what) => {
  const [a, b] = [actual, expected].map((value) => JSON.stringify(value));
  if (a !== b) throw new Error(`${what}: ${a} instead of ${b}`);
};

export const ensure = (holds, what) => {
  if (!holds) throw new Error(what);
};

/** Waits until `check` gives something true. */
export const until = async (what, check, milliseconds = 15000) => {
  const deadline = Date.now() + milliseconds;
  for (;;) {
    const value = await check();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`${what}: it did not happen`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
};

/** Uploads a file with the API and gives the reply. */
export const upload = async (client, duration, name, bytes) => {
  const form = new FormData();
  for (const [key, value] of Object.entries({ ...client, store_duration: duration })) form.append(key, value);
  form.append("image", new Blob([bytes]), name);
  const reply = await (await fetch(`${base}/image/v2/`, { method: "POST", body: form })).json();
  ensure(reply.status === "success", `the upload of ${name}: ${JSON.stringify(reply)}`);
  return reply;
};
