// @ts-check
/**
 * Which way a socket goes: a WebSocket, or, where the network lets none through, requests. A way that fails before
 * it has brought a word makes room for the other; the one that works is remembered as long as the tab is open.
 */

import { PollSocket } from "./poll.js";

/** A way that has brought no word after this time does not work: the other one has to be there within 3 s. */
export const TRIAL_MS = 2000;

const KEY = "matchpoint.way";
const PATIENCE = 2; // failures in a row of a way that did work: its worker may have died

/** @typedef {"socket" | "poll"} Way */

export class Ways {
  /** @param {Pick<Storage, "getItem" | "setItem"> | null} memory */
  constructor(memory = storage()) {
    this.memory = memory;
    /** @type {Way | null} */
    this.known = memory?.getItem(KEY) === "poll" ? "poll" : null;
    /** @type {Way} */
    this.current = this.known ?? "socket";
    this.failures = 0;
  }

  worked() {
    this.failures = 0;
    if (this.known !== this.current) {
      this.known = this.current;
      this.memory?.setItem(KEY, this.current);
    }
  }

  failed() {
    this.failures += 1;
    if (this.failures >= (this.known === this.current ? PATIENCE : 1)) {
      this.failures = 0;
      this.current = this.current === "socket" ? "poll" : "socket";
    }
  }
}

/**
 * @param {string} path
 * @param {Way} way
 * @returns {WebSocket | PollSocket}
 */
export function open(path, way) {
  return way === "poll" ? new PollSocket(path) : new WebSocket(new URL(path, location.href.replace(/^http/, "ws")));
}

/**
 * What matches remember of it, without a say in it: a lobby may be slow for other reasons, and a match is worth a trial of its own.
 * @returns {Pick<Storage, "getItem" | "setItem">}
 */
export function reading() {
  return { getItem: (key) => storage()?.getItem(key) ?? null, setItem: () => undefined };
}

function storage() {
  try {
    return sessionStorage;
  } catch {
    return null; // forbidden, or there is none
  }
}
