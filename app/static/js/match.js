// @ts-check
/** The match page: the timeline comes in by the socket, inputs go out, and every frame shows the exact moment. */

import { Absence } from "./absence.js";
import { getMatch, takeSeat } from "./api.js";
import { Clock } from "./clock.js";
import { forgetLeft, hasLeft, rememberLeft, tellLeft } from "./departure.js";
import { initial, RULES, stateFromJson } from "./engine.js";
import { inWords, showEnding, showStored } from "./ending.js";
import * as hud from "./hud.js";
import { Input } from "./input.js";
import { Lateness } from "./lateness.js";
import { connectionWord, showAbsence } from "./network.js";
import { OwnPaddle } from "./predict.js";
import { wireInvite } from "./invite.js";
import { wireLeaving } from "./leaving.js";
import { wireMeeting } from "./meeting.js";
import { askRematch, hearNothing, hearOther, hearRematch } from "./rematch.js";
import { settings } from "./settings.js";
import { MatchSocket } from "./socket.js";
import { countSound, pointSound } from "./sound.js";
import { awaitRating } from "./standing.js";
import { Statistics } from "./statistics.js";
import { admit, playHere, Tab } from "./tab.js";
import { wireMute, wireSharing } from "./toolbar.js";
import { MatchView } from "./view.js";
import { remember } from "./waiting.js";

const SECOND = 1000000;
const COUNTDOWN_US = 1.5 * SECOND; // a serve that is announced this far ahead is counted down
const SLEPT_MS = 1500; // a gap between frames this long: the machine slept, or the tab was hidden
const WARNING_MS = 5000;

/** @typedef {import("./api.js").Summary} Summary */

const data = /** @type {Summary} */ (JSON.parse(hud.element("match-data").textContent ?? "{}"));
const page = hud.element("match");

let players = data.players;
/** @type {number | null} */
let side = data.you;
let nextSeq = 1;
let hasStarted = false;
let isOver = false;
let statistics = new Statistics();
/** @type {WakeLockSentinel | null} */
let wakeLock = null;

const absence = new Absence();
const lateness = new Lateness();
const tab = new Tab(data.id, elsewhere);
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
  if (side !== null) {
    void tab.claim();
    absence.back(side);
  }
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
  if (side !== null && hasLeft(data.id)) {
    socket.send({ t: "leave" });
  } else if (input.wish !== null) {
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

/** @param {number} toward side */
function announceServe(toward) {
  hud.announce(toward === side ? hud.say("serveYou") : hud.say("serveTo", { name: nameOf(toward) }));
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
      announceServe(event.vx < 0 ? 0 : 1);
      absence.clear();
      break;
    case "pad":
      if (event.side === side && event.seq > 0) {
        const claimed = own.pending.find((order) => order.seq === event.seq)?.at ?? event.t;
        lateness.answered(claimed, event.t, performance.now());
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
      absence.clear();
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
  if (message.side !== side) {
    hud.showPing(message.side, message.ping, { isAway: !message.online });
  }
  if (player === null || player === undefined) {
    players = (await getMatch(data.id).catch(() => ({ players }))).players;
    introduce();
  }
  if (isOver && message.side !== side && side !== null) {
    hearOther(nameOf(message.side), message.online);
    return;
  }
  const wasAway = absence.left(message.side, performance.now()) !== null;
  absence.told(message, performance.now());
  if (wasAway && message.online) {
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
    if (isOver) {
      hearNothing(side === null ? "" : nameOf(1 - side));
    } else if (reason === "over") {
      void over();
    } else {
      stopped(reason ?? "broken");
    }
  } else if (isOver) {
    hud.showBanner(null);
  } else if (status === "live") {
    if (side !== null) {
      absence.back(side);
    }
    hud.showBanner(null);
  } else {
    if (side !== null && hasStarted && status !== "moving") {
      absence.cutOff(side, socket.heard);
    }
    hud.showBanner(status === "moving" ? "reconnecting" : status, connectionWord(status), status === "unstable");
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
  const action = name === "replaced" ? "playHere" : name === "over" || name === "missing" ? null : "reload";
  hud.showStopped(`stop${hud.capital(name)}`, action && hud.say(action));
}

/** It ended while we were away: how, and by whom. */
async function over() {
  const ended = await getMatch(data.id).catch(() => null);
  if (ended === null || ended.reason === null) {
    stopped("over");
    return;
  }
  Object.assign(data, ended);
  players = ended.players;
  input.isEnabled = false;
  remember(null);
  forgetLeft(data.id);
  hud.announce(inWords(data, side));
  showFinished();
}

/** Another tab of ours plays. When it is closed this one goes on. */
function elsewhere() {
  if (!isOver) {
    socket.stop("replaced");
    void tab.wait().then(() => location.reload());
  }
}

function enter() {
  hud.showBanner("connecting", hud.say("bannerConnecting"));
  socket.start();
}

function finish() {
  if (isOver) {
    return;
  }
  isOver = true;
  absence.clear();
  remember(null);
  forgetLeft(data.id);
  input.isEnabled = false;
  void wakeLock?.release();
  hud.showBanner(null);
  hud.showCountdown(null);
  hud.showScore(view.state.score);
  showHint(null);
  const { winner, reason, score } = view.state;
  const ending = { winner, reason, score, players, mode: data.mode };
  hud.announce(inWords(ending, side));
  showEnding(ending, side, statistics.isComplete ? statistics : null);
  if (side !== null && data.mode !== "ai") {
    void awaitRating(data.id, side);
  }
}

/** A match that was over before this page was opened, or that ended while we were away. */
function showFinished() {
  isOver = true;
  showHint(null);
  hud.showScore(data.score);
  hud.showPlayers(players, data.level, side);
  void showStored(data, side);
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
  if (isCounting && side !== null && lateness.warns(clock.rtt)) {
    const warning = hud.say("slowLine", { ms: Math.round(clock.rtt ?? 0) });
    hud.showToast(warning, WARNING_MS);
    hud.announce(warning);
  }
  if (hasStarted && !isOver) {
    showAbsence(absence, { side, players, mode: data.mode, status: socket.status });
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
  wireLeaving({ isInPlay, mode: data.mode, stay: introduceAgain, leave });
  hud.element("rematch").addEventListener("click", () => askRematch(data, (message) => socket.send(message)));
  hud.element("stopped-action").addEventListener("click", () => (tab.isHeld ? location.reload() : playHere(data.id)));
  wireInvite(data, giveUp);
  wireMeeting(data, { hasStarted: () => hasStarted, giveUp });
  wireMute();
  wireSharing(() => (view.state.phase === "over" ? view.state.score : data.score));
  addEventListener("online", () => socket.wake());
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) {
      socket.wake();
      void (hasStarted && !isOver && stayAwake());
    }
  });
  addEventListener("pagehide", () => isInPlay() && data.mode === "ai" && remember(location.pathname));
  setInterval(() => {
    if (side !== null) {
      hud.showPing(side, clock.rtt, { jitter: clock.jitter, lag: clock.lag, isLate: lateness.isLate(performance.now()) });
    }
  }, 1000);
}

function isInPlay() {
  return side !== null && hasStarted && !isOver;
}

function introduceAgain() {
  hud.showPanel(null);
  introduce();
  hud.element("leave").focus();
}

/** For good, and at once: somebody else is met. Against the machine that counts for nothing. */
function giveUp() {
  isOver = true;
  input.isEnabled = false;
  remember(null);
  rememberLeft(data.id);
  socket.send({ t: "leave" });
}

/** The machine waits; a friend wins. */
function leave() {
  if (!(isInPlay() && data.mode === "ai")) {
    if (side !== null && !isOver && !tab.isElsewhere) {
      rememberLeft(data.id); // there may be no connection, or one that is lost and does not know it
    }
    socket.send({ t: "leave" });
  }
  location.assign(page.dataset.home ?? "/");
}

wire();
introduce();
tellLeft(data.id);
court.side = side;
court.resize();
if (data.status === "finished" || data.status === "over") {
  showFinished();
} else if (side === null) {
  enter();
} else {
  void admit(tab, data.id, enter, () => hud.showStopped("stopElsewhere", hud.say("playHere")));
}
requestAnimationFrame(frame);
