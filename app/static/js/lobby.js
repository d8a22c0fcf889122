// @ts-check
/**
 * The lobby socket (docs/lobby.md): who is here, and a player to meet. It comes back by itself, and waits again; by requests,
 * where the network lets no WebSocket through.
 */

import { ApiError, enterLobby } from "./api.js";
import { backoff } from "./socket.js";
import { open, reading, TRIAL_MS, Ways } from "./ways.js";

const PROTOCOL = 1;
const WAITING_BEAT_MS = 2000;
const BEAT_MS = 25000;
const DEAD_BEATS = 3; // without an answer
const IDLE_BACK_MS = 4000; // at least, for a page that only looks on; up to three times as long, since all of them lose a server at once
const FLOOD_MS = 30000;
const POLL_TRIAL_MS = 5000;

/**
 * @typedef {{t: "site", here: number, waiting: number, matches: number, courts: "free" | "full" | "none" | "away"}} Site
 * @typedef {{t: "courts", matches: {id: string, names: [string, string], score: [number, number], watching: number}[]}} Courts
 * @typedef {{t: "you", state: "idle" | "waiting" | "elsewhere", waited_ms: number}} You
 * @typedef {{t: "met", match: string, name: string, rating: number | null, rated: boolean, in_ms: number}} Met
 * @typedef {{t: "off", match: string}} Off
 *
 * @typedef {object} Listener
 * @property {(site: Site) => void} [site]
 * @property {(courts: Courts) => void} [courts]
 * @property {(you: You) => void} [you]
 * @property {(met: Met) => void} [met]
 * @property {(off: Off) => void} [off]
 *
 * @typedef {object} Host what it needs from its surroundings; tests give their own
 * @property {() => Promise<{url: string, token: string}>} token
 * @property {(path: string, way: import("./ways.js").Way) => ReturnType<typeof open>} open
 * @property {Ways} ways
 * @property {(call: () => void, ms: number) => number} after
 * @property {(timer: number) => void} cancel
 * @property {() => number} random in [0, 1)
 */

/** @type {Omit<Host, "ways">} */
const BROWSER = {
  token: enterLobby,
  open: (path, way) => open(way === "poll" ? `${path}/${name()}` : path, way),
  after: (call, ms) => window.setTimeout(call, ms),
  cancel: (timer) => window.clearTimeout(timer),
  random: Math.random,
};

/** By which the edge finds the process that carries our requests: another one for each connection, as a process may be gone. */
function name() {
  return Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Whether to come back after a close.
 * @param {number} code
 * @returns {boolean}
 */
export function comesBack(code) {
  return ![1000, 1009, 4400, 4403, 4404, 4426].includes(code);
}

export class Lobby {
  /**
   * @param {Listener} listener
   * @param {Partial<Host>} host
   */
  constructor(listener, host = {}) {
    this.listener = listener;
    /** @type {Host} */
    this.host = { ways: new Ways(reading()), ...BROWSER, ...host };
    /** @type {ReturnType<typeof open> | null} */
    this.socket = null;
    this.isWaiting = false;
    this.isOpen = false;
    this.isStopped = true;
    this.epoch = 0; // grows with every attempt: answers to older ones are not ours any more
    this.tries = 0;
    this.unseated = 0; // closes with 4401 in a row
    this.unanswered = 0;
    /** @type {number | null} */
    this.timer = null;
    /** @type {number | null} until a word has come this way */
    this.trial = null;
  }

  start() {
    this.isStopped = false;
    void this.#attempt();
  }

  /** Wait for another player, over reconnects, until `cancel`. */
  wait() {
    this.isWaiting = true;
    this.#send({ t: "wait" });
    this.#beat();
  }

  cancel() {
    this.isWaiting = false;
    this.#send({ t: "cancel" });
  }

  stop() {
    this.isStopped = true;
    this.#drop();
  }

  async #attempt() {
    this.#drop();
    const { epoch } = this;
    let place;
    try {
      place = await this.host.token();
    } catch (error) {
      if (epoch === this.epoch) {
        this.#again(error instanceof ApiError && error.status === 429 ? FLOOD_MS : 0);
      }
      return;
    }
    if (epoch !== this.epoch) {
      return;
    }
    const { token, url } = place;
    const way = this.host.ways.current;
    const socket = this.host.open(url, way);
    this.socket = socket;
    const trial = way === "socket" ? TRIAL_MS : POLL_TRIAL_MS;
    this.trial = this.host.after(() => epoch === this.epoch && this.#closed(1006), trial);
    socket.onopen = () => epoch === this.epoch && socket.send(JSON.stringify({ t: "hello", protocol: PROTOCOL, token }));
    socket.onmessage = (/** @type {{data: string}} */ event) => epoch === this.epoch && this.#receive(JSON.parse(event.data));
    socket.onclose = (/** @type {{code: number}} */ event) => epoch === this.epoch && this.#closed(event.code);
  }

  /** @param {any} message */
  #receive(message) {
    this.unanswered = 0;
    this.#tried();
    switch (message.t) {
      case "welcome":
        this.isOpen = true;
        this.host.ways.worked();
        this.tries = this.unseated = 0;
        if (this.isWaiting) {
          this.#send({ t: "wait" });
        }
        this.#beat();
        break;
      case "site":
        this.listener.site?.(message);
        break;
      case "courts":
        this.listener.courts?.(message);
        break;
      case "you":
        if (message.state === "elsewhere") {
          this.isWaiting = false;
        }
        this.listener.you?.(message);
        break;
      case "met":
        this.#send({ t: "coming", match: message.match });
        this.listener.met?.(message);
        break;
      case "off":
        this.listener.off?.(message);
        break;
      default: // what a later release may say
    }
  }

  /** @param {number} code */
  #closed(code) {
    if (this.trial !== null && code === 1006) {
      this.host.ways.failed();
    }
    this.unseated = code === 4401 ? this.unseated + 1 : 0;
    if (!comesBack(code) || this.unseated > 1) {
      this.stop();
    } else {
      this.#again(code === 4429 ? FLOOD_MS : 0);
    }
  }

  /** @param {number} least ms */
  #again(least) {
    this.#drop();
    this.listener.site?.({ t: "site", here: 0, waiting: 0, matches: 0, courts: "away" });
    const idle = this.isWaiting ? 0 : IDLE_BACK_MS * (1 + 2 * this.host.random());
    const wait = Math.max(least, idle) + backoff(this.tries, this.host.random());
    this.tries += 1;
    this.timer = this.host.after(() => void this.#attempt(), wait);
  }

  /** The heartbeat, from now on. */
  #beat() {
    if (this.timer !== null) {
      this.host.cancel(this.timer);
    }
    if (!this.isOpen) {
      return;
    }
    this.timer = this.host.after(
      () => {
        if (this.unanswered >= DEAD_BEATS) {
          this.#again(0);
          return;
        }
        this.unanswered += 1;
        this.#send({ t: "here" });
        this.#beat();
      },
      this.isWaiting ? WAITING_BEAT_MS : BEAT_MS,
    );
  }

  /** @param {object} message */
  #send(message) {
    if (this.isOpen) {
      this.socket?.send(JSON.stringify(message));
    }
  }

  #tried() {
    if (this.trial !== null) {
      this.host.cancel(this.trial);
      this.trial = null;
    }
  }

  #drop() {
    this.epoch += 1;
    this.#tried();
    this.isOpen = false;
    this.unanswered = 0;
    if (this.timer !== null) {
      this.host.cancel(this.timer);
      this.timer = null;
    }
    this.socket?.close();
    this.socket = null;
  }
}
