// The calls of the API, and its errors in words.
import { distance, size, t } from "/view/text.js";

/** The longest time, in seconds, that a call waits when the server asks it to come back later. */
export const PATIENCE = 120;

/** What went wrong with a call. `status` is 0 if there was no reply, `wait` the seconds that the server asks to wait. */
export class Failure extends Error {
  constructor(status, body = {}, wait = 0) {
    super(describe(status, body, wait));
    Object.assign(this, { status, error: body.error, wait });
  }
}

const describe = (status, body, wait) => {
  const when = distance(wait * 1000);
  switch (body.error) {
    case "File too large":
      return t("The file is larger than your plan allows: {size}.", { size: size(body.max_size) });
    case "Invalid file type":
      return t("This is not a JPEG, PNG, GIF or WebP image, or it is damaged.");
    case "Image dimensions too large":
      return t("The image has too many pixels: at most {side} a side and {megapixels} megapixels.", { side: body.max_side, megapixels: body.max_megapixels });
    case "Failed to download image":
      return t("The server could not download this URL. It must open for everybody, without signing in.");
    case "Image not allowed":
      return t("This image is not allowed here.");
    case "Storage limit reached":
      return t("Your storage is full. Delete images, or wait until some expire.");
    case "Daily upload limit reached":
      return t("Your uploads of today are used up. You can go on {when}.", { when });
    case "Invalid client ID":
      return t("There is no client with this ID. Check it for typing errors.");
    case "Invalid client token":
      return t("The token is wrong. Copy it whole, without spaces.");
    case "Client disabled":
      return t("This client is suspended. Ask the operator of this site.");
    case "Too many failed attempts":
      return t("Too many failed attempts. Try again {when}.", { when });
    case undefined:
      return status === 0 ? t("No reply. Check the connection.") : t("The server failed (status {status}). Try again later.", { status });
    default:
      return status >= 500 ? t("The server failed (status {status}). Try again later.", { status }) : t("The server refused it: {error}", { error: body.error });
  }
};

/** The failure that a reply is. `header` gives the value of a header. */
export const failure_of = (status, text, header) => {
  let body = {};
  try {
    body = JSON.parse(text) ?? {};
  } catch {
    // A proxy may have answered, not the API.
  }
  return new Failure(status, body, Number(header("Retry-After")) || 0);
};

export const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Whether the server asks to wait for a time that a person would wait, too. */
export const is_short_wait = ({ status, wait }) => [409, 429, 503].includes(status) && wait <= PATIENCE;

/** Calls the API with the credentials of the client and gives the JSON of the reply; waits when the server asks for it. */
export const call = async ({ id, token }, method, path) => {
  for (let tries = 1; ; tries += 1) {
    let failure;
    try {
      const reply = await fetch(`/image/v2/${path}`, { method, headers: { "X-Client-Id": id, "X-Client-Token": token } });
      if (reply.ok) return await reply.json();
      failure = failure_of(reply.status, await reply.text(), (name) => reply.headers.get(name));
    } catch {
      failure = new Failure(0);
    }
    // A wrong token is not tried again: each attempt counts.
    if (!is_short_wait(failure) || failure.error === "Too many failed attempts" || tries === 20) throw failure;
    await pause(Math.max(1, failure.wait) * 1000);
  }
};
