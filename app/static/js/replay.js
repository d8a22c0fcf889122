// @ts-check
/** The page of a replay: the timeline of a finished match drives the same view as the socket of a live one. */

import { getReplay } from "./api.js";
import { initial, RULES, stateFromJson } from "./engine.js";
import * as hud from "./hud.js";
import { pointSound } from "./sound.js";
import { Timeline } from "./timeline.js";
import { wireMute } from "./toolbar.js";
import { circumstance, verdict } from "./verdict.js";
import { MatchView } from "./view.js";

const SECOND = 1000000;
const STEP_US = 5 * SECOND; // of an arrow key
const FRAME_MS = 100; // longer: the tab was hidden, and nothing is skipped

/** @typedef {import("./api.js").Summary} Summary */

const data = /** @type {Summary} */ (JSON.parse(hud.element("match-data").textContent ?? "{}"));
const bar = /** @type {HTMLInputElement} */ (hud.element("scrub"));
const speed = /** @type {HTMLSelectElement} */ (hud.element("speed"));
const play = hud.element("play-pause");
const view = new MatchView(initial({ ...RULES, points: data.points }));

/** @type {Timeline} */
let timeline = new Timeline(view.state, []);
let position = 0; // µs
let isPlaying = false;
let shown = -1; // the rally that is marked
let lastFrame = performance.now();

/** @param {boolean} on */
function run(on) {
  if (on && position >= timeline.duration) {
    seek(0);
  }
  isPlaying = on;
  play.setAttribute("aria-label", hud.say(on ? "pause" : "play"));
  for (const icon of play.querySelectorAll("[data-when]")) {
    icon.toggleAttribute("hidden", (icon.getAttribute("data-when") === "pause") !== on);
  }
}

/** @param {number} to µs */
function seek(to) {
  position = Math.max(0, Math.min(timeline.duration, to));
  view.jump(timeline.states[timeline.count(position)]);
  hud.showBanner(null);
  hud.showScore(view.state.score);
  show();
}

/** @param {number} elapsed µs of match time */
function advance(elapsed) {
  position = Math.min(timeline.duration, position + elapsed);
  view.fold(timeline.events.slice(view.state.version, timeline.count(position)), happen);
  if (position >= timeline.duration) {
    run(false);
  }
  show();
}

/** @param {import("./engine.js").MatchEvent} event */
function happen(event) {
  if (event.k === "point") {
    const [left, right] = event.score;
    hud.showScore(event.score);
    hud.announce(hud.say("point", { name: hud.playerName(data.players[event.side]), left, right }));
    pointSound(data.you === null || event.side === data.you);
  } else if (event.k === "end") {
    const ending = { winner: event.winner, reason: event.reason, score: event.score, players: data.players, mode: data.mode };
    const words = [verdict(ending, null), circumstance(ending, null)].filter((word) => word !== null).join(". ");
    hud.showBanner("end", words, true);
    hud.announce(words);
  }
}

/** Clock, bar and the mark on the rally. */
function show() {
  const clock = `${time(position)} / ${time(timeline.duration)}`;
  bar.value = String(position / SECOND);
  hud.element("clock").textContent = clock;
  const rally = timeline.rallyAt(position);
  bar.setAttribute("aria-valuetext", hud.say("at", { time: time(position), rally: rally + 1 }));
  if (rally !== shown) {
    shown = rally;
    [...hud.element("points").children].forEach((item, index) => {
      const button = /** @type {HTMLElement} */ (item.firstElementChild);
      button.ariaCurrent = index === rally ? "true" : null;
      if (index === rally) {
        const list = hud.element("points");
        list.scrollLeft = button.offsetLeft - list.offsetLeft - list.clientWidth / 2;
      }
    });
  }
}

/** @param {number} us */
function time(us) {
  const seconds = Math.floor(us / SECOND);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

/** @param {number} by rallies; back means to the beginning of this one first */
function step(by) {
  const now = timeline.rallyAt(position);
  const isBegun = position - (timeline.rallies[now]?.at ?? 0) > SECOND;
  const to = by < 0 && isBegun ? now : now + by;
  const rally = timeline.rallies[Math.max(0, Math.min(timeline.rallies.length - 1, to))];
  seek(rally?.at ?? 0);
}

function listPoints() {
  const list = hud.element("points");
  for (const [index, rally] of timeline.rallies.entries()) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button";
    button.textContent = rally.score.join("–");
    button.setAttribute("aria-label", hud.say("rally", { rally: index + 1, left: rally.score[0], right: rally.score[1], hits: rally.hits }));
    button.addEventListener("click", () => seek(rally.at));
    const item = document.createElement("li");
    item.append(button);
    list.append(item);
  }
}

/** The moment in the page's address, in seconds. */
function linked() {
  const found = /^#t=(\d+(?:\.\d+)?)$/.exec(location.hash);
  return found === null ? null : Number(found[1]) * SECOND;
}

/** @param {KeyboardEvent} event */
function key(event) {
  const isOurs = event.target instanceof Element && event.target.closest("dialog, input, select, button, a") === null;
  if (event.ctrlKey || event.metaKey || event.altKey || !isOurs) {
    return;
  }
  if (event.code === "Space") {
    run(!isPlaying);
  } else if (event.code === "ArrowLeft" || event.code === "ArrowRight") {
    seek(position + (event.code === "ArrowLeft" ? -STEP_US : STEP_US));
  } else {
    return;
  }
  event.preventDefault();
}

/** @param {number} at ms */
function frame(at) {
  const elapsed = Math.min(FRAME_MS, at - lastFrame);
  lastFrame = at;
  if (isPlaying) {
    advance(elapsed * 1000 * Number(speed.value));
  }
  view.draw(position, null);
  requestAnimationFrame(frame);
}

function wire() {
  play.addEventListener("click", () => run(!isPlaying));
  hud.element("previous").addEventListener("click", () => step(-1));
  hud.element("next").addEventListener("click", () => step(1));
  bar.addEventListener("input", () => seek(Number(bar.value) * SECOND));
  addEventListener("keydown", key);
  addEventListener("hashchange", () => seek(linked() ?? position));
  const share = hud.element("share-moment");
  share.addEventListener("click", () => {
    const url = new URL(location.href);
    url.hash = `t=${(position / SECOND).toFixed(1)}`;
    history.replaceState(null, "", url);
    const [left, right] = data.score;
    void hud.share(share, { text: hud.say("shareText", { left, right }), url: url.href });
  });
  wireMute();
}

async function load() {
  try {
    const { start, events } = await getReplay(data.id);
    timeline = new Timeline(stateFromJson(start), events);
  } catch {
    hud.showBanner("failed", hud.say("replayFailed"), true);
    return;
  }
  bar.max = String(timeline.duration / SECOND);
  listPoints();
  for (const control of /** @type {NodeListOf<HTMLButtonElement>} */ (document.querySelectorAll("[data-control]"))) {
    control.disabled = false;
  }
  seek(linked() ?? 0);
  run(linked() === null);
}

wire();
view.court.side = data.you;
view.court.resize();
hud.showPlayers(data.players, data.level, data.you);
hud.showScore([0, 0]);
requestAnimationFrame(frame);
void load();
