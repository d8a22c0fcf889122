// @ts-check
/**
 * The match socket: takes a seat, connects, says hello, and gets the player back onto the court whatever the network
 * does. What a close code means for us is the table of docs/protocol.md.
 */

import { ApiError } from "./api.js";
import { open, TRIAL_MS, Ways } from "./ways.js";

/** What this page speaks, the best first: a worker of an earlier release knows the last one. */
export const PROTOCOLS = [3, 2, 1];

const BURST = 6;
const BURST_MS = 120;
const HEARTBEAT_MS = 1000;
const UNSTABLE_MS = 1500;
const DEAD_MS = 3000; // the server thinks the same of a page that says nothing
const STABLE_MS = 5000; // a connection that lasted this long was a good one: back off from the start next time
const FIRST_MS = 300; // at most: another worker may have the match already
const BACKOFF_MS = [250, 500, 1000, 1000, 1000, 2000, 3000];
const SPREAD = 0.3;
const FLOOD_MS = 3000;

/**
 * @typedef {"connecting" | "live" | "unstable" | "reconnecting" | "moving" | "busy" | "stopped"} Status
 * @typedef {"over" | "broken" | "refused" | "missing" | "replaced" | "reload"} StopReason
 * @typedef {{do: "seat", delay?: number} | {do: "seat once"} | {do: "stop", reason: StopReason}} Policy
 *
 * @typedef {object} Host what the socket needs from its surroundings; tests give their own
 * @property {() => Promise<import("./api.js").Seat>} seat
 * @property {(path: string, way: import("./ways.js").Way) => ReturnType<typeof open>} open
 * @property {Ways} ways
 * @property {() => number} now monotonic ms
 * @property {(call: () => void, ms: number) => number} after
 * @property {(timer: number) => void} cancel
 * @property {() => number} random in [0, 1)
 *
 * @typedef {object} Listener
 * @property {() => number} version the last version that we hold
 * @property {(message: any) => void} message every message but pongs
 * @property {(status: Status, reason: StopReason | null) => void} status
 */

/**
 * What to do after a close.
 * @param {number} code
 * @returns {Policy}
 */
export function closePolicy(code) {
  switch (code) {
    case 1000:
      return { do: "stop", reason: "over" };
    case 1009:
    case 4400:
      return { do: "stop", reason: "broken" };
    case 4401:
      return { do: "seat once" };
    case 4403:
      return { do: "stop", reason: "refused" };
    case 4409:
      return { do: "stop", reason: "replaced" };
    case 4426:
      return { do: "stop", reason: "reload" };
    case 4429:
      return { do: "seat", delay: FLOOD_MS };
    default:
      return { do: "seat" };
  }
}

/**
 * How long to wait before try number `tries` (0 is the first), so that many clients do not come back at once.
 * @param {number} tries
 * @param {number} random in [0, 1)
 * @returns {number} ms
 */
export function backoff(tries, random) {
  if (tries === 0) {
    return FIRST_MS * random;
  }
  const base = BACKOFF_MS[Math.min(tries, BACKOFF_MS.length) - 1];
  return base * (1 - SPREAD + 2 * SPREAD * random);
}

/** @type {Omit<Host, "seat" | "ways">} */
const BROWSER = {
  open,
  now: () => performance.now(),
  after: (call, ms) => window.setTimeout(call, ms),
  cancel: (timer) => window.clearTimeout(timer),
  random: Math.random,
};

export class MatchSocket {
  /**
   * @param {import("./clock.js").Clock} clock
   * @param {Listener} listener
   * @param {Pick<Host, "seat"> & Partial<Host>} host
   */
  constructor(clock, listener, host) {
    this.clock = clock;
    this.listener = listener;
    /** @type {Host} */
    this.host = { ways: new Ways(), ...BROWSER, ...host };
    /** @type {Status} */
    this.status = "connecting";
    /** @type {ReturnType<typeof open> | null} */
    this.socket = null;
    this.epoch = 0; // grows with every attempt: answers to older ones are not ours any more
    this.owner = ""; // whose events we hold
    this.tries = 0;
    this.unseated = 0; // closes with 4401 in a row
    this.protocol = PROTOCOLS[0];
    this.heard = 0;
    this.liveSince = 0;
    /** @type {number | null} */
    this.retry = null;
    /** @type {number | null} */
    this.beat = null;
    /** @type {number | null} */
    this.trial = null;
  }

  /** How the connection goes. */
  get way() {
    return this.host.ways.current;
  }

  start() {
    this.#attempt("connecting");
  }

  /**
   * @param {object} message
   * @returns {boolean} false: there is no connection, nothing was sent
   */
  send(message) {
    if (this.socket === null || !this.isLive) {
      return false;
    }
    this.socket.send(JSON.stringify(message));
    return true;
  }

  get isLive() {
    return this.status === "live" || this.status === "unstable";
  }

  /** The network is back, or the page is: do not wait for a timer. */
  wake() {
    if (this.retry !== null) {
      this.#attempt("reconnecting");
    } else if (this.isLive && this.host.now() - this.heard > UNSTABLE_MS) {
      this.clock.restart();
      this.#probe(this.epoch, BURST);
    }
  }

  /** Another key frame, please: what we hold does not fit what comes. */
  resync() {
    this.#attempt("reconnecting");
  }

  /** @param {StopReason} reason */
  stop(reason) {
    this.#drop();
    this.#become("stopped", reason);
  }

  /** @param {Status} status */
  async #attempt(status) {
    this.#drop();
    const epoch = this.epoch;
    this.#become(status);
    /** @type {import("./api.js").Seat} */
    let seat;
    try {
      seat = await this.host.seat();
    } catch (error) {
      if (epoch === this.epoch) {
        this.#unseated(error);
      }
      return;
    }
    if (epoch !== this.epoch) {
      return;
    }
    const socket = this.host.open(seat.url, this.way);
    this.socket = socket;
    this.heard = this.host.now();
    const trial = this.way === "socket" ? TRIAL_MS : DEAD_MS;
    this.trial = this.host.after(() => epoch === this.epoch && this.#closed(1006), trial);
    socket.onopen = () => {
      if (epoch === this.epoch) {
        const version = this.listener.version();
        const { owner } = this;
        socket.send(JSON.stringify({ t: "hello", protocol: this.protocol, token: seat.token, version, owner }));
      }
    };
    socket.onmessage = (/** @type {{data: string}} */ event) => epoch === this.epoch && this.#receive(event.data);
    socket.onclose = (/** @type {{code: number}} */ event) => epoch === this.epoch && this.#closed(event.code);
    this.#watch(epoch);
  }

  /** @param {unknown} error */
  #unseated(error) {
    const status = error instanceof ApiError ? error.status : 0;
    if (status === 404) {
      this.stop("missing");
    } else if (status === 409) {
      this.stop("over");
    } else if (status === 403) {
      this.stop("refused");
    } else {
      this.#again(status === 429 || status === 503 ? "busy" : "reconnecting");
    }
  }

  /** @param {string} text */
  #receive(text) {
    const message = JSON.parse(text);
    this.heard = this.host.now();
    this.#tried();
    if (this.status === "unstable") {
      this.#become("live");
    }
    switch (message.t) {
      case "pong":
        this.clock.sample(message.c, message.s, message.lag);
        break;
      case "move":
        this.#attempt("moving");
        break;
      case "welcome":
        this.unseated = 0;
        this.host.ways.worked();
        this.owner = message.owner ?? ""; // a worker of an earlier release has none
        this.liveSince = this.heard;
        this.clock.restart();
        this.clock.seed(message.now);
        this.#become("live");
        this.#probe(this.epoch, BURST);
        this.listener.message(message);
        break;
      default:
        this.listener.message(message);
    }
  }

  /** A word has come this way. */
  #tried() {
    if (this.trial !== null) {
      this.host.cancel(this.trial);
      this.trial = null;
    }
  }

  /** @param {number} code */
  #closed(code) {
    if (this.trial !== null && code === 1006) {
      this.host.ways.failed();
    }
    if (this.liveSince > 0 && this.host.now() - this.liveSince > STABLE_MS) {
      this.tries = 0;
    }
    const policy = closePolicy(code);
    if (code === 4426 && this.protocol > 1) {
      this.protocol = PROTOCOLS.find((number) => number < this.protocol) ?? 1;
      this.#attempt("reconnecting");
    } else if (policy.do === "stop") {
      this.stop(policy.reason);
    } else if (policy.do === "seat once") {
      this.unseated += 1;
      if (this.unseated > 1) {
        this.stop("refused");
      } else {
        this.#attempt("reconnecting");
      }
    } else {
      this.#again("reconnecting", policy.delay ?? 0);
    }
  }

  /**
   * @param {Status} status
   * @param {number} least ms
   */
  #again(status, least = 0) {
    this.#drop();
    this.#become(status);
    const wait = Math.max(least, backoff(this.tries, this.host.random()));
    this.tries += 1;
    this.retry = this.host.after(() => this.#attempt(status), wait);
  }

  /**
   * Probes: a burst, then one a second, which is the heartbeat as well.
   * @param {number} epoch
   * @param {number} burst probes left in it
   */
  #probe(epoch, burst) {
    if (this.beat !== null) {
      this.host.cancel(this.beat);
    }
    if (epoch !== this.epoch || !this.isLive) {
      return;
    }
    const rtt = this.clock.rtt;
    this.send({ t: "ping", c: this.clock.local(), rtt: rtt === null ? null : Math.round(rtt) });
    const wait = burst > 1 ? BURST_MS : HEARTBEAT_MS;
    this.beat = this.host.after(() => this.#probe(epoch, burst - 1), wait);
  }

  /** @param {number} epoch */
  #watch(epoch) {
    if (epoch !== this.epoch || this.socket === null) {
      return;
    }
    const silence = this.host.now() - this.heard;
    if (silence > DEAD_MS) {
      this.#closed(1006);
      return;
    }
    if (silence > UNSTABLE_MS && this.status === "live") {
      this.#become("unstable");
    }
    this.host.after(() => this.#watch(epoch), UNSTABLE_MS / 4);
  }

  #drop() {
    this.epoch += 1;
    for (const timer of [this.retry, this.beat]) {
      if (timer !== null) {
        this.host.cancel(timer);
      }
    }
    this.retry = null;
    this.beat = null;
    this.#tried();
    this.liveSince = 0;
    this.socket?.close();
    this.socket = null;
  }

  /**
   * @param {Status} status
   * @param {StopReason | null} reason
   */
  #become(status, reason = null) {
    if (status !== this.status || reason !== null) {
      this.status = status;
      this.listener.status(status, reason);
    }
  }
}
