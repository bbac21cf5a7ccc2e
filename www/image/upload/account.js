// The credentials: in this window only, or on this device if the person asks for it. They are in no URL and go to the API alone.
import { call } from "./api.js";

const KEY = "corenexis.client";

const stores = () => {
  const usable = [];
  for (const name of ["sessionStorage", "localStorage"]) {
    try {
      usable.push(globalThis[name]);
    } catch {
      // Storage may be forbidden: the credentials then end with the page.
    }
  }
  return usable;
};

/** The client that is signed in: id, token and, once asked for, usage; null if none is. */
export let client = null;

/** Signs in with the credentials that are stored; false if there are none. */
export const resume = () => {
  for (const store of stores()) {
    const stored = JSON.parse(store.getItem(KEY) ?? "null");
    if (stored?.id && stored?.token) client = stored;
    if (client) return true;
  }
  return false;
};

/** Signs in if the server accepts the credentials; fails with what it says otherwise. */
export const sign_in = async (id, token, stays) => {
  const usage = await call({ id, token }, "GET", "usage");
  sign_out();
  client = { id, token };
  const [session, device] = stores();
  (stays ? device : session)?.setItem(KEY, JSON.stringify(client));
  client.usage = usage;
};

/** Forgets the credentials, here and on this device. */
export const sign_out = () => {
  client = null;
  for (const store of stores()) store.removeItem(KEY);
};

/** Asks for the plan and what is left of it. */
export const update_usage = async () => {
  const asked = client;
  const usage = await call(asked, "GET", "usage");
  asked.usage = usage;
  return usage;
};
