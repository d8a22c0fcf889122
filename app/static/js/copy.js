/** A button beside each command of a runbook that copies it. Without this script a command is selected by hand. */

const article = /** @type {HTMLElement | null} */ (document.querySelector("[data-copy-label]"));

for (const figure of article?.querySelectorAll(".command") ?? []) {
  const code = figure.querySelector("code");
  if (!article || !code || !navigator.clipboard) { continue; }
  const button = document.createElement("button");
  button.type = "button";
  button.className = "button command-copy";
  button.textContent = article.dataset.copyLabel ?? "";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(code.textContent ?? "");
    button.textContent = article.dataset.copiedLabel ?? "";
    setTimeout(() => { button.textContent = article.dataset.copyLabel ?? ""; }, 2000);
  });
  figure.append(button);
}
