// @ts-check
/** The match page: the timeline comes in by the socket, inputs go out, and every frame shows the exact moment. */

import { getMatch, getReplay, takeSeat } from "./api.js";
import { Clock } from "./clock.js";
import { initial, RULES, stateFromJson } from "./engine.js";
import * as hud from "./hud.js";
import { Input } from "./input.js";
import { OwnPaddle } from "./predict.js";
import { askRematch, hearRematch } from "./rematch.js";
import { settings } from "./settings.js";
import { MatchSocket } from "./socket.js";
import { countSound, pointSound } from "./sound.js";
import { awaitRating, showRating } from "./standing.js";
import { Statistics } from "./statistics.js";
import { wireMute, wireSharing } from "./toolbar.js";
import { circumstance, verdict } from "./verdict.js";
import { MatchView } from "./view.js";

const SECOND = 1000000;
const COUNTDOWN_US = 1.5 * SECOND; // a serve that is announced this far ahead is counted down
const SLEPT_MS = 1500; // a gap between frames this long: the machine slept, or the tab was hidden

/** @typedef {import("./api.js").Summary} Summary */

const data = /** @type {Summary} */ (JSON.parse(hud.element("match-data").textContent ?? "{}"));
const page = hud.element("match");

let players = data.players;
/** @type {number | null} */
let side = data.you;
let nextSeq = 1;
let hasStarted = false;
let isOver = false;
/** @type {{side: number, until: number} | null} who is away, and when that ends the match (performance.now) */
let away = null;
let statistics = new Statistics();
/** @type {WakeLockSentinel | null} */
let wakeLock = null;

const clock = new Clock();
const view = new MatchView(initial({ ...RULES, points: data.points }), hud.say("you"));
const { court } = view;
const own = new OwnPaddle(view.state.rules);
const socket = new MatchSocket(
  clock,
  { version: () => view.state.version, message: receive, status: connection },
  { seat: () => takeSeat(data.id) },
);
const input = new Input({ court, stage: hud.element("stage"), rules: view.state.rules, keys: settings, send: steer });

/** @param {number | null} target */
function steer(target) {
  if (side === null || !hasStarted || isOver) {
    return;
  }
  const order = { seq: nextSeq, at: clock.now(), target: target === null ? null : Math.round(target * 100) / 100 };
  nextSeq += 1;
  own.press(order);
  socket.send({ t: "in", ...order });
}

/** @param {any} message */
function receive(message) {
  switch (message.t) {
    case "welcome":
      welcome(message);
      break;
    case "ev":
      fold(message.e);
      break;
    case "peer":
      peer(message);
      break;
    case "late":
      hud.showToast(hud.say("bannerLate"));
      break;
    case "rematch":
      hearRematch(message, { ...data, players }, side);
      break;
    default: // `error` tells more about the close that follows it, for people who look at the network panel
  }
}

/** @param {any} message */
function welcome(message) {
  side = message.side;
  players = message.players;
  court.side = side;
  input.isEnabled = side !== null;
  if (message.state !== null) {
    view.show(stateFromJson(message.state));
    if (view.state.version > 0) {
      statistics = new Statistics(false);
    }
    hasStarted = view.state.version > 0;
    own.rules = input.rules = view.state.rules;
  }
  court.resize();
  if (side !== null) {
    own.reset(view.state.paddles[side]);
  }
  showHint(side === null ? "spectator" : "player");
  hud.showScore(view.state.score);
  introduce();
  if (input.wish !== null) {
    steer(input.wish);
  }
  if (view.state.phase === "over") {
    finish();
  }
}

/** @param {"player" | "spectator" | null} who the line under the court is for; it keeps its place when empty */
function showHint(who) {
  for (const hint of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-for]"))) {
    hint.hidden = hint.dataset.for !== who;
  }
}

/** Names, and whether we still wait for somebody. */
function introduce() {
  hud.showPlayers(players, data.level, side);
  const isWaiting = players.some((player) => player === null);
  if (!isOver && hud.element("leaving").hidden) {
    hud.showPanel(isWaiting && side !== null ? "invite" : null);
  }
}

function announceSide() {
  court.introduce(clock.now());
  const where = side === null ? "youWatch" : court.isUpright ? "youBottom" : side === 0 ? "youLeft" : "youRight";
  hud.announce(hud.say(where));
}

/** @param {import("./engine.js").MatchEvent[]} events */
function fold(events) {
  const isWhole = view.fold(events, (event) => {
    statistics.add(event);
    happen(event);
  });
  if (!isWhole) {
    socket.resync();
  }
}

/** @param {import("./engine.js").MatchEvent} event */
function happen(event) {
  switch (event.k) {
    case "serve":
      if (!hasStarted) {
        hasStarted = true;
        announceSide();
        void stayAwake();
      }
      away = null;
      break;
    case "pad":
      if (event.side === side && event.seq > 0) {
        own.confirm(event, clock.now());
      } else if (event.side === side) {
        own.reset(view.state.paddles[event.side]);
      }
      break;
    case "point": {
      const [left, right] = event.score;
      hud.showScore(event.score);
      hud.announce(hud.say("point", { name: nameOf(event.side), left, right }));
      pointSound(side === null || event.side === side);
      break;
    }
    case "pause":
      if (event.reason !== "peer") {
        hud.showBanner("server", hud.say("bannerServer"));
      }
      break;
    case "resume":
      away = null;
      hud.showBanner(null);
      hud.announce(hud.say("resume"));
      break;
    case "end":
      finish();
      break;
    default:
  }
}

/** @param {{side: number, online: boolean, ping: number | null, grace_ms: number}} message */
async function peer(message) {
  const player = players[message.side];
  hud.showPing(message.side, message.ping, { isAway: !message.online });
  if (player === null || player === undefined) {
    players = (await getMatch(data.id).catch(() => ({ players }))).players;
    introduce();
  }
  if (hasStarted && !isOver && !message.online) {
    away = { side: message.side, until: performance.now() + message.grace_ms };
  } else if (away?.side === message.side) {
    away = null;
    hud.showBanner(null);
  }
}

/**
 * @param {import("./socket.js").Status} status
 * @param {import("./socket.js").StopReason | null} reason
 */
function connection(status, reason) {
  if (status === "stopped") {
    hud.showBanner(null);
    if (!isOver) {
      stopped(reason ?? "broken");
    }
  } else if (isOver) {
    hud.showBanner(null);
  } else if (status === "live") {
    hud.showBanner(null);
  } else {
    const word = `banner${hud.capital(status)}`;
    hud.showBanner(status === "moving" ? "reconnecting" : status, hud.say(word), status === "unstable");
  }
}

/** @param {import("./socket.js").StopReason} reason */
function stopped(reason) {
  const tried = "matchpoint.reloaded";
  if (reason === "reload" && sessionStorage.getItem(tried) !== data.id) {
    sessionStorage.setItem(tried, data.id);
    location.reload();
    return;
  }
  input.isEnabled = false;
  const name = reason === "reload" ? "broken" : reason;
  const word = `stop${hud.capital(name)}`;
  hud.element("stopped-title").textContent = hud.say(word);
  hud.element("stopped-detail").textContent = hud.say(`${word}Detail`);
  hud.element("stopped-reload").hidden = name === "over" || name === "missing";
  hud.showPanel("stopped");
}

function finish() {
  if (isOver) {
    return;
  }
  isOver = true;
  away = null;
  input.isEnabled = false;
  void wakeLock?.release();
  hud.showBanner(null);
  hud.showCountdown(null);
  hud.showScore(view.state.score);
  showHint(null);
  const { longest, fastest, seconds, isComplete } = statistics;
  const { winner, reason, score } = view.state;
  const ending = { winner, reason, score, players };
  const title = verdict(ending, side);
  hud.announce(title);
  hud.showResult({
    title,
    reason: circumstance(ending, side),
    score,
    rally: isComplete ? longest : null,
    speed: isComplete ? fastest : null,
    seconds: isComplete ? seconds : null,
    canRematch: side !== null,
  });
  if (side !== null && data.mode !== "ai") {
    void awaitRating(data.id, side);
  }
}

/** A match that was over before this page was opened. Its numbers come from the stored timeline, when that is here. */
async function showFinished() {
  isOver = true;
  showHint(null);
  hud.showScore(data.score);
  hud.showPlayers(players, data.level, side);
  const result = {
    title: verdict(data, side),
    reason: circumstance(data, side),
    score: data.score,
    rally: null,
    speed: null,
    seconds: data.duration_us === null ? null : data.duration_us / SECOND,
    canRematch: side !== null,
  };
  hud.showResult(result);
  if (side !== null) {
    showRating(data.ratings[side]);
  }
  const stored = data.status === "finished" ? await getReplay(data.id).catch(() => null) : null;
  if (stored !== null) {
    stored.events.forEach((event) => statistics.add(event));
    const { longest, fastest, seconds } = statistics;
    hud.showResult({ ...result, rally: longest, speed: fastest, seconds });
  }
}

/** @param {number} which side */
function nameOf(which) {
  return hud.playerName(players[which]);
}

async function stayAwake() {
  try {
    wakeLock = (await navigator.wakeLock?.request("screen")) ?? null;
  } catch {
    // Low battery, or not allowed: the screen may dim, the match goes on.
  }
}

/** Seconds that change by themselves: the countdown, the grace of who is away, the own ping. */
function showClocks(/** @type {number} */ now) {
  const { ball, phase } = view.state;
  const wait = ball === null || phase !== "serve" ? 0 : ball.t - now;
  const isCounting = wait > 0 && (wait > COUNTDOWN_US || hud.element("countdown").hidden === false);
  const seconds = isCounting ? Math.ceil(wait / SECOND) : null;
  if (hud.showCountdown(seconds) && seconds !== null) {
    countSound(seconds === 1);
  }
  if (away !== null && socket.isLive) {
    const left = Math.max(0, Math.ceil((away.until - performance.now()) / 1000));
    hud.showBanner("peer", hud.say("bannerPeer", { name: nameOf(away.side), seconds: left }), true);
  }
}

let lastFrame = performance.now();

/** @param {number} at ms */
function frame(at) {
  if (at - lastFrame > SLEPT_MS) {
    socket.wake();
  }
  lastFrame = at;
  const now = clock.now();
  view.draw(now, side === null ? null : { side, paddle: own, live: input.live });
  showClocks(now);
  requestAnimationFrame(frame);
}

function wire() {
  const leaving = () => {
    hud.showPanel("leaving");
    hud.element("leave-no").focus();
  };
  hud.element("leaving").addEventListener("keydown", (event) => event.key === "Escape" && introduceAgain());
  hud.element("leave").addEventListener("click", () => {
    if (side === null || isOver || !hasStarted) {
      leave();
    } else {
      leaving();
    }
  });
  hud.element("leave-no").addEventListener("click", () => introduceAgain());
  hud.element("leave-yes").addEventListener("click", leave);
  hud.element("rematch").addEventListener("click", () => askRematch(data, (message) => socket.send(message)));
  hud.element("stopped-reload").addEventListener("click", () => location.reload());
  wireMute();
  wireSharing(() => (view.state.phase === "over" ? view.state.score : data.score));
  addEventListener("online", () => socket.wake());
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) {
      socket.wake();
      void (hasStarted && !isOver && stayAwake());
    }
  });
  setInterval(() => side !== null && hud.showPing(side, clock.rtt, { jitter: clock.jitter }), 1000);
}

function introduceAgain() {
  hud.showPanel(null);
  introduce();
  hud.element("leave").focus();
}

function leave() {
  socket.send({ t: "leave" });
  location.assign(page.dataset.home ?? "/");
}

wire();
introduce();
court.side = side;
court.resize();
if (data.status === "finished" || data.status === "over") {
  void showFinished();
} else {
  hud.showBanner("connecting", hud.say("bannerConnecting"));
  socket.start();
}
requestAnimationFrame(frame);
