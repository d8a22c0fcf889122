// @ts-check
/** What stands around and over the court: names, score, pings, banners, panels, and what is read out. */

/**
 * @typedef {{side: number, kind: "human" | "ai", name: string}} Player
 * @typedef {[Player | null, Player | null]} Players
 * @typedef {{title: string, reason: string | null, score: [number, number], rally: number | null, speed: number | null,
 *   seconds: number | null, canRematch: boolean}} Result
 */

const words = /** @type {HTMLElement} */ (document.getElementById("words")).dataset;
const BANNER_DELAY_MS = 700; // a hiccup is not worth a word
const SERVER_MS = 20; // of its own delay are worth a word: less is part of every round trip
const TOAST_MS = 2200;
const COPIED_MS = 2000;
const ANNOUNCED_MS = 400;

/**
 * A translated sentence with its placeholders filled in.
 * @param {string} name as in `data-` of #words, in camelCase
 * @param {Record<string, string | number>} values
 * @returns {string}
 */
export function say(name, values = {}) {
  return (words[name] ?? name).replace(/\{(\w+)\}/g, (whole, key) => String(values[key] ?? whole));
}

/**
 * @param {string} word
 * @returns {string} as it stands inside a name in camelCase
 */
export function capital(word) {
  return word.charAt(0).toUpperCase() + word.slice(1);
}

/**
 * @param {string} id
 * @returns {HTMLElement}
 */
export function element(id) {
  const found = document.getElementById(id);
  if (found === null) {
    throw new Error(`no element ${id}`);
  }
  return found;
}

/**
 * Bars and a word for a round trip: never the colour alone.
 * @param {number} rtt ms
 * @returns {1 | 2 | 3 | 4}
 */
export function pingBars(rtt) {
  return rtt < 60 ? 4 : rtt < 120 ? 3 : rtt < 200 ? 2 : 1;
}

const sides = [0, 1].map((side) => /** @type {HTMLElement} */ (document.querySelector(`.side[data-side="${side}"]`)));
const scores = [0, 1].map((side) => /** @type {HTMLElement} */ (document.querySelector(`[data-score="${side}"]`)));

/**
 * @param {Player | null} player
 * @returns {string}
 */
export function playerName(player) {
  if (player === null) {
    return say("free");
  }
  return player.kind === "ai" ? say("machine") : player.name;
}

/**
 * @param {Players} players
 * @param {string | null} level of the machine
 * @param {number | null} own side
 */
export function showPlayers(players, level, own) {
  sides.forEach((box, side) => {
    const player = players[side];
    part(box, "[data-name]").textContent = playerName(player);
    const tag = part(box, "[data-tag]");
    tag.textContent = side === own ? say("you") : player?.kind === "ai" ? say(`level${capital(level ?? "normal")}`) : "";
    tag.hidden = tag.textContent === "";
  });
}

/** @param {[number, number]} score */
export function showScore(score) {
  scores.forEach((box, side) => {
    const text = String(score[side]);
    if (box.textContent !== text) {
      box.textContent = text;
      box.classList.remove("pop");
      void box.offsetWidth; // let the animation start again
      box.classList.add("pop");
    }
  });
  document.title = say("title", { left: score[0], right: score[1] });
}

/**
 * @param {number} side
 * @param {number | null} rtt ms; null: not known
 * @param {{jitter?: number, lag?: number, isAway?: boolean, isLate?: boolean}} more `isLate`: moves count later than they were
 *   made; `lag`: ms of the round trip that are the server's own
 */
export function showPing(side, rtt, { jitter, lag = 0, isAway = false, isLate = false } = {}) {
  const box = part(sides[side], "[data-ping]");
  box.hidden = rtt === null && !isAway;
  const bars = isAway || rtt === null ? 0 : pingBars(rtt);
  box.dataset.bars = String(bars);
  const ms = Math.round(rtt ?? 0);
  const text = isAway ? say("pingAway") : say("ping", { ms, word: say(`ping-${bars}`) });
  part(box, "[data-text]").textContent = lag < SERVER_MS ? text : `${text}, ${say("pingServer", { ms: Math.round(lag) })}`;
  box.toggleAttribute("data-late", isLate);
  const title = jitter === undefined || rtt === null ? "" : say("pingTitle", { ms, jitter: Math.round(jitter) });
  box.title = isLate ? `${title} ${say("pingLate")}` : title;
}

const banner = element("banner");
const bannerText = part(banner, "[data-text]");
/** @type {number | undefined} */
let bannerTimer;

/**
 * @param {string | null} kind null: nothing to tell
 * @param {string} text
 * @param {boolean} isUrgent without the wait that hides hiccups
 */
export function showBanner(kind, text = "", isUrgent = false) {
  clearTimeout(bannerTimer);
  const show = () => {
    banner.dataset.kind = kind ?? "";
    if (bannerText.textContent !== text) {
      bannerText.textContent = text;
    }
    banner.hidden = kind === null;
  };
  if (kind === null || isUrgent || !banner.hidden) {
    show();
  } else {
    bannerTimer = window.setTimeout(show, BANNER_DELAY_MS);
  }
}

const toast = element("toast");
/** @type {number | undefined} */
let toastTimer;

/**
 * @param {string} text
 * @param {number} ms
 */
export function showToast(text, ms = TOAST_MS) {
  toast.textContent = text;
  toast.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = window.setTimeout(() => (toast.hidden = true), ms);
}

let announcedAt = -Infinity;

/** @param {string} text to be read out, after what was said in the same moment: a point, and the serve that follows */
export function announce(text) {
  const announcer = element("announcer");
  const now = performance.now();
  announcer.textContent = now - announcedAt < ANNOUNCED_MS ? `${announcer.textContent} ${text}` : text;
  announcedAt = now;
}

const countdown = element("countdown");

/** @param {number | null} seconds left; null: no countdown */
export function showCountdown(seconds) {
  const text = seconds === null ? "" : String(seconds);
  if (countdown.textContent === text) {
    return false;
  }
  countdown.textContent = text;
  countdown.hidden = seconds === null;
  countdown.classList.remove("tick");
  void countdown.offsetWidth;
  countdown.classList.add("tick");
  return true;
}

/**
 * @param {"invite" | "end" | "stopped" | "leaving" | null} id the one panel to show
 */
export function showPanel(id) {
  for (const name of ["invite", "end", "stopped", "leaving"]) {
    element(name).hidden = name !== id;
  }
}

/** @param {Result} result */
export function showResult(result) {
  element("end-title").textContent = result.title;
  element("end-reason").textContent = result.reason;
  element("end-reason").hidden = result.reason === null;
  const panel = element("end");
  for (const side of [0, 1]) {
    part(panel, `[data-end-score="${side}"]`).textContent = String(result.score[side]);
  }
  stat("rally", result.rally === null ? null : String(result.rally));
  stat("speed", result.speed === null ? null : say("speed", { speed: result.speed }));
  stat("time", result.seconds === null ? null : duration(result.seconds));
  element("end-stats").hidden = result.seconds === null;
  element("rematch").hidden = !result.canRematch;
  showPanel("end");
  (result.canRematch ? element("rematch") : element("new-match")).focus({ preventScroll: true });
}

/**
 * @param {string} text
 * @param {boolean} isWaiting nothing left to press
 */
export function showOffer(text, isWaiting) {
  const offer = element("end-offer");
  offer.textContent = text;
  offer.hidden = text === "";
  /** @type {HTMLButtonElement} */ (element("rematch")).disabled = isWaiting;
}

/**
 * Why the page is not on the court, and the one thing to do about it.
 * @param {string} word as in `data-` of #words; its detail has the same name with `Detail`
 * @param {string | null} action the button's label; null: there is nothing to do
 */
export function showStopped(word, action) {
  element("stopped-title").textContent = say(word);
  element("stopped-detail").textContent = say(`${word}Detail`);
  element("stopped-action").hidden = action === null;
  element("stopped-action").textContent = action;
  showPanel("stopped");
}

/**
 * @param {string} name
 * @param {string | null} value null: not known
 */
function stat(name, value) {
  const box = part(element("end-stats"), `[data-stat="${name}"]`);
  box.textContent = value;
  /** @type {HTMLElement} */ (box.parentElement).hidden = value === null;
}

/** @param {number} seconds */
export function duration(seconds) {
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/**
 * Share by the system where it can, else copy.
 * @param {HTMLElement} button says that it was copied
 * @param {{text: string, url: string}} what
 */
export async function share(button, what) {
  if (navigator.share !== undefined && matchMedia("(pointer: coarse)").matches) {
    await navigator.share(what).catch(() => undefined);
  } else {
    await copy(button, what.url, [what.text, what.url].join("\n"));
  }
}

/**
 * @param {HTMLElement} button
 * @param {string} url
 * @param {string} text
 */
export async function copy(button, url, text = url) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // No permission, or not a secure page: select the link, then one key copies it. A replay has it in its address.
    const field = /** @type {HTMLInputElement | null} */ (document.getElementById("invite-url"));
    if (field !== null) {
      field.value = url;
      field.select();
    }
    return;
  }
  const label = button.textContent;
  button.textContent = button.dataset.done ?? label;
  announce(button.textContent ?? "");
  setTimeout(() => (button.textContent = label), COPIED_MS);
}

/**
 * @param {HTMLElement} box
 * @param {string} selector
 * @returns {HTMLElement}
 */
function part(box, selector) {
  return /** @type {HTMLElement} */ (box.querySelector(selector));
}
