// @ts-check
/** What a player chose, kept in this browser, and the dialog to choose it in. Every page loads this. */

/**
 * @typedef {{up: string, down: string, sound: boolean, calm: boolean, theme: "auto" | "dark" | "light" | "contrast"}} Settings
 */

const KEY = "matchpoint";

/** @type {Settings} */
const DEFAULTS = { up: "KeyW", down: "KeyS", sound: true, calm: false, theme: "auto" };

/** @type {Settings} */
let current = { ...DEFAULTS, ...stored() };

/** @returns {Partial<Settings>} */
function stored() {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? "{}");
  } catch {
    return {};
  }
}

/** @returns {Readonly<Settings>} */
export function settings() {
  return current;
}

/**
 * Everybody who cares listens to `matchpoint:settings` on the document.
 * @param {Partial<Settings>} changes
 */
export function change(changes) {
  current = { ...current, ...changes };
  try {
    localStorage.setItem(KEY, JSON.stringify(current));
  } catch {
    // Private windows may refuse: then the choice lasts as long as the page.
  }
  const { dataset } = document.documentElement;
  if (current.theme === "auto") {
    delete dataset.theme;
  } else {
    dataset.theme = current.theme;
  }
  if (current.calm) {
    dataset.motion = "reduced";
  } else {
    delete dataset.motion;
  }
  document.dispatchEvent(new CustomEvent("matchpoint:settings"));
}

/** @type {Map<string, string> | null} what is printed on the keys of this keyboard, where the browser tells */
let layout = null;

/**
 * @param {string} code of a keyboard event
 * @returns {string}
 */
export function keyName(code) {
  return (layout?.get(code) ?? code.replace(/^(Key|Digit|Arrow)/, "")).toUpperCase();
}

/** @param {HTMLDialogElement} dialog */
function wire(dialog) {
  const input = (/** @type {string} */ selector) => /** @type {NodeListOf<HTMLInputElement>} */ (dialog.querySelectorAll(selector));
  const remaps = /** @type {NodeListOf<HTMLButtonElement>} */ (dialog.querySelectorAll("[data-remap]"));
  /** @type {HTMLButtonElement | null} */
  let waiting = null;

  const warning = /** @type {HTMLElement} */ (dialog.querySelector("[data-key-warning]"));

  /** @param {string} text why a key was not taken */
  function warn(text = "") {
    warning.textContent = text;
    warning.hidden = text === "";
  }

  function show() {
    for (const button of remaps) {
      const way = /** @type {"up" | "down"} */ (button.dataset.remap);
      button.textContent = button === waiting ? (dialog.dataset.pressKey ?? "") : keyName(current[way]);
    }
    for (const kbd of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-key]"))) {
      kbd.textContent = keyName(current[/** @type {"up" | "down"} */ (kbd.dataset.key)]);
    }
    input('[name="sound"]').forEach((box) => (box.checked = current.sound));
    input('[name="calm"]').forEach((box) => (box.checked = current.calm));
    input('[name="theme"]').forEach((radio) => (radio.checked = radio.value === current.theme));
  }

  for (const button of /** @type {NodeListOf<HTMLButtonElement>} */ (document.querySelectorAll("[data-open-settings]"))) {
    button.disabled = false;
    button.addEventListener("click", () => dialog.showModal());
  }
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) {
      dialog.close();
    }
  });
  dialog.addEventListener("close", () => {
    waiting = null;
    show();
  });
  for (const button of remaps) {
    button.addEventListener("click", () => {
      waiting = button;
      show();
    });
    button.addEventListener("blur", () => {
      waiting = null;
      warn();
      show();
    });
  }
  dialog.addEventListener("keydown", (event) => {
    if (waiting === null || event.code === "Tab") {
      return;
    }
    event.preventDefault();
    const way = /** @type {"up" | "down"} */ (waiting.dataset.remap);
    const other = way === "up" ? "down" : "up";
    const isTaken = event.code === "KeyM" || event.code === current[other];
    if (isTaken) {
      warn(dialog.dataset.keyTaken?.replace("{key}", keyName(event.code)));
      return;
    }
    waiting = null;
    warn();
    if (event.code !== "Escape") {
      change({ [way]: event.code });
    }
    show();
  });
  dialog.addEventListener("change", (event) => {
    const box = /** @type {HTMLInputElement} */ (event.target);
    change(box.name === "theme" ? { theme: /** @type {Settings["theme"]} */ (box.value) } : { [box.name]: box.checked });
  });
  document.addEventListener("matchpoint:settings", show);
  // @ts-expect-error the keyboard map is not in TypeScript's library: only Chromium has it
  void navigator.keyboard?.getLayoutMap?.().then((/** @type {Map<string, string>} */ map) => {
    layout = map;
    show();
  }).catch(() => undefined);
  show();
}

const dialog = document.querySelector("dialog#settings");
if (dialog instanceof HTMLDialogElement) {
  wire(dialog);
}

for (const select of /** @type {NodeListOf<HTMLSelectElement>} */ (document.querySelectorAll("[data-submit-on-change]"))) {
  const button = select.form?.querySelector("button");
  button?.setAttribute("hidden", "");
  select.addEventListener("change", () => select.form?.requestSubmit());
}
