/** Copies a text; fails if the browser does not allow it. */
export const copy = async (text) => {
  // Pages without https have no navigator.clipboard.
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = Object.assign(document.createElement("textarea"), { value: text, className: "unseen" });
  // A modal dialog makes all that is outside of it inert.
  (document.querySelector("dialog[open]") ?? document.body).append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  if (!copied) throw new Error("refused");
};

/** Copies a text when the button is pressed, and says so on it and in `status` for two seconds; then it has its `name` again. */
export const copy_on_press = (button, text, { done, refused, status, name = button.textContent }) => {
  let timer;
  button.addEventListener("click", async () => {
    clearTimeout(timer);
    try {
      await copy(text());
      button.textContent = done;
      button.classList.add("done");
    } catch {
      button.textContent = refused;
    }
    status.textContent = button.textContent;
    timer = setTimeout(() => {
      button.textContent = typeof name === "function" ? name() : name;
      button.classList.remove("done");
      status.textContent = "";
    }, 2000);
  });
};
