// @ts-check
/** The landing page: a rally plays, and one press starts a match. */

import { ApiError, createMatch } from "./api.js";
import { attract } from "./attract.js";
import { look, rememberMet, rememberWish, wantsPlayers } from "./looking.js";
import { waiting } from "./waiting.js";

const canvas = /** @type {HTMLCanvasElement} */ (document.getElementById("attract"));
const form = /** @type {HTMLFormElement} */ (document.getElementById("play"));
const error = /** @type {HTMLElement} */ (form.querySelector(".hero-error"));
const LEVEL = "matchpoint.level";
const PRESENCE_MS = 500;

attract(canvas);

const goOn = /** @type {HTMLAnchorElement} */ (document.getElementById("go-on"));
const next = /** @type {HTMLTemplateElement} */ (document.getElementById("next"));
addEventListener("load", () => document.head.append(next.content));

const saved = localStorage.getItem(LEVEL);
for (const radio of /** @type {NodeListOf<HTMLInputElement>} */ (form.querySelectorAll('[name="level"]'))) {
  radio.checked = saved === null ? radio.checked : radio.value === saved;
}

const meet = /** @type {HTMLInputElement} */ (form.querySelector('[name="meet"]'));
meet.checked = wantsPlayers();
meet.addEventListener("change", () => rememberWish(meet.checked));

/** @param {import("./lobby.js").Courts} courts matches to watch */
function showCourts({ matches }) {
  const section = /** @type {HTMLElement} */ (document.getElementById("courts"));
  const template = /** @type {HTMLTemplateElement} */ (section.querySelector("template"));
  const rows = matches.map(({ id, names, score, watching }) => {
    const row = /** @type {DocumentFragment} */ (template.content.cloneNode(true));
    const link = /** @type {HTMLAnchorElement} */ (row.querySelector("a"));
    link.href = link.href.replace("ID", id);
    const texts = { left: names[0], right: names[1], score: `${score[0]}–${score[1]}`, watching: "" };
    if (watching > 0) {
      texts.watching = (section.dataset.watching ?? "").replace("{watching}", String(watching));
    }
    for (const [name, text] of Object.entries(texts)) {
      /** @type {HTMLElement} */ (row.querySelector(`[data-${name}]`)).textContent = text;
    }
    return row;
  });
  const list = /** @type {HTMLElement} */ (section.querySelector("ul"));
  if (!list.contains(document.activeElement)) { // a list that changes under the keyboard loses its place
    list.replaceChildren(...rows);
  }
  section.hidden = matches.length === 0;
}

/** Who is here; what that takes is fetched when this page is done. */
async function showPresence() {
  const { Lobby } = await import("./lobby.js");
  const presence = /** @type {HTMLElement} */ (document.getElementById("presence"));
  new Lobby({
    site: ({ courts, here, waiting: looking, matches }) => {
      presence.hidden = courts === "away";
      const numbers = /** @type {Record<string, number>} */ ({ here, looking, matches });
      presence.textContent = (presence.dataset.text ?? "").replace(/\{(\w+)\}/g, (_, key) => String(numbers[key]));
    },
    courts: showCourts,
  }).start();
}
addEventListener("load", () => setTimeout(showPresence, PRESENCE_MS));

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = /** @type {HTMLButtonElement} */ (event.submitter ?? form.querySelector('[value="ai"]'));
  if (form.ariaBusy === "true") {
    return;
  }
  const level = String(new FormData(form).get("level"));
  localStorage.setItem(LEVEL, level);
  form.ariaBusy = button.ariaBusy = "true";
  error.textContent = "";
  try {
    look(button.value !== "friend" && meet.checked);
    const { url } = await createMatch(button.value === "friend" ? { mode: "friend" } : { mode: "ai", level });
    location.assign(url);
  } catch (cause) {
    error.textContent = reason(cause) ?? "";
    form.ariaBusy = button.ariaBusy = "false";
  }
});

// The page may come back from the browser's cache as it was left: busy.
addEventListener("pageshow", () => {
  void import("./departure.js").then(({ tellLeft }) => tellLeft());
  look(false);
  rememberMet(null);
  const url = waiting();
  goOn.hidden = url === null;
  goOn.href = url ?? goOn.href;
  form.ariaBusy = "false";
  form.querySelectorAll("[aria-busy]").forEach((button) => (button.ariaBusy = "false"));
});

/** @param {unknown} cause */
function reason(cause) {
  const status = cause instanceof ApiError ? cause.status : -1;
  const { errorOffline, errorBusy, errorOther } = form.dataset;
  return status === 0 ? errorOffline : status === 429 || status === 503 ? errorBusy : errorOther;
}
