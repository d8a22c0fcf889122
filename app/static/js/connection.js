// @ts-check
/** The page /connection/: what gets through to a live worker, over both transports, and what it is worth. */

import { Clock, median } from "./clock.js";
import { open } from "./ways.js";

const PROBES = 12;
const EVERY_MS = 150;
const LIMIT_MS = 6000;

/**
 * @typedef {object} Measured
 * @property {boolean} works
 * @property {number | null} rtt ms
 * @property {number | null} jitter ms
 * @property {number | null} offset ms that the server's clock is ahead
 * @property {number | null} lag ms
 */

/** Wall clock that does not jump while we measure. */
const local = () => performance.timeOrigin + performance.now();

/**
 * One way, by the answers to a dozen pings.
 * @param {string} path
 * @param {import("./ways.js").Way} way
 * @returns {Promise<Measured>}
 */
function measure(path, way) {
  const clock = new Clock(local);
  /** @type {number[]} */
  const lags = [];
  return new Promise((resolve) => {
    const socket = open(path, way);
    const done = () => {
      clearTimeout(limit);
      socket.onclose = socket.onmessage = null;
      socket.close();
      const works = lags.length > 0;
      resolve({
        works,
        rtt: clock.rtt,
        jitter: works ? clock.jitter : null,
        offset: works ? clock.goal : null,
        lag: works ? median(lags) : null,
      });
    };
    const limit = setTimeout(done, LIMIT_MS);
    const ping = () => socket.send(JSON.stringify({ t: "ping", c: local() }));
    socket.onopen = ping;
    socket.onmessage = (/** @type {{data: string}} */ event) => {
      const message = JSON.parse(event.data);
      if (message.t === "pong") {
        clock.sample(message.c, message.s * 1000);
        lags.push(message.lag);
        if (lags.length === PROBES) {
          done();
        } else {
          setTimeout(ping, EVERY_MS);
        }
      }
    };
    socket.onclose = done;
  });
}

const page = /** @type {HTMLElement} */ (document.getElementById("connection"));
const report = /** @type {HTMLTextAreaElement} */ (document.getElementById("report"));

/**
 * @param {string} name
 * @param {string} text
 */
function show(name, text) {
  const cell = page.querySelector(`[data-value="${name}"]`);
  if (cell !== null) {
    cell.textContent = text;
  }
}

/** @param {string} word */
function say(word) {
  return page.dataset[word] ?? word;
}

/** @param {number | null} value */
function ms(value, digits = 0) {
  if (value === null) {
    return say("skipped");
  }
  const number = new Intl.NumberFormat(document.documentElement.lang, { maximumFractionDigits: digits });
  return say("ms").replace("{ms}", number.format(value));
}

async function run() {
  const path = page.dataset.echo ?? "";
  const none = { works: false, rtt: null, jitter: null, offset: null, lag: null };
  const socket = path === "" ? none : await measure(path, "socket");
  show("socket", say(socket.works ? "works" : "blocked"));
  const poll = path === "" ? none : await measure(path, "poll");
  show("poll", say(poll.works ? "works" : "blocked"));
  const best = socket.works ? socket : poll;
  show("rtt", ms(best.rtt));
  show("jitter", ms(best.jitter, 1));
  show("offset", ms(best.offset));
  show("lag", ms(best.lag, 1));
  const play = path === "" ? "playSite" : socket.works ? "playSocket" : poll.works ? "playPoll" : "playNone";
  /** @type {HTMLElement} */ (document.getElementById("verdict")).textContent = say(play);
  page.dataset.play = play;
  const lines = { time: new Date().toISOString(), site: location.host, worker: path.split("/")[2] ?? "none", browser: navigator.userAgent };
  const figures = [["websocket", socket], ["http", poll]].map(([name, found]) => `${name}: ${JSON.stringify(found, rounded)}`);
  report.value = [...Object.entries(lines).map(([name, value]) => `${name}: ${value}`), ...figures].join("\n");
}

/**
 * @param {string} _
 * @param {any} value
 */
function rounded(_, value) {
  return typeof value === "number" ? Math.round(value * 10) / 10 : value;
}

const copy = /** @type {HTMLButtonElement} */ (document.getElementById("report-copy"));
copy.addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(report.value);
    copy.textContent = copy.dataset.done ?? "";
  } catch {
    report.select(); // no permission, or not a secure page: one key copies it
  }
});

void run();
