/** Copies a text; fails if the browser does not allow it. */
const copy = async (text) => {
  // Pages without https have no navigator.clipboard.
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const focused = document.activeElement;
  const field = Object.assign(document.createElement("textarea"), { value: text });
  // In the window, so that the page does not scroll to it.
  Object.assign(field.style, { position: "fixed", top: "0", opacity: "0" });
  // A modal dialog makes all that is outside of it inert.
  (document.querySelector("dialog[open]") ?? document.body).append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  focused?.focus({ preventScroll: true });
  if (!copied) throw new Error("refused");
};

let silence;

/**
 * Copies a text when the button is pressed, and says `done` or `refused` on it for two seconds; then it has its `name` again. `said` has
 * the texts for `status`, which screen readers read out, where they are others.
 */
export const copy_on_press = (button, text, { done, refused, status, said = { done, refused }, name = button.textContent, on_refusal = () => {} }) => {
  let timer;
  button.addEventListener("click", async () => {
    clearTimeout(timer);
    clearTimeout(silence);
    const copied = await copy(text()).then(() => true, () => false);
    button.textContent = copied ? done : refused;
    button.classList.toggle("done", copied);
    status.textContent = copied ? said.done : said.refused;
    if (!copied) on_refusal();
    timer = setTimeout(() => {
      button.textContent = typeof name === "function" ? name() : name;
      button.classList.remove("done");
    }, 2000);
    silence = setTimeout(() => { status.textContent = ""; }, 2000);
  });
};
