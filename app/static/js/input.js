// @ts-check
/** Keys and pointers become targets of the own paddle: a height in u, or null for "stop where you are". */

import { margin } from "./engine.js";

const POINTER_MS = 40; // 25 inputs a second leave room under the server's limit of 30
const NUDGE = 1.5; // u: a pointer that moved less has not moved

/** Which arrow moves which way: upright, the court is turned by a quarter. */
const ARROWS = {
  flat: { ArrowUp: "up", ArrowDown: "down" },
  upright0: { ArrowLeft: "up", ArrowRight: "down" },
  upright1: { ArrowLeft: "down", ArrowRight: "up" },
};

/**
 * @typedef {"up" | "down"} Way
 * @typedef {object} Options
 * @property {import("./render.js").Court} court
 * @property {HTMLElement} stage
 * @property {import("./engine.js").Rules} rules
 * @property {() => {up: string, down: string}} keys the chosen keys, by `event.code`
 * @property {(target: number | null) => void} send
 */

export class Input {
  /** @param {Options} options */
  constructor({ court, stage, rules, keys, send }) {
    this.court = court;
    this.rules = rules;
    this.keys = keys;
    this.send = send;
    this.isEnabled = false;
    /** @type {Map<string, Way>} keys that are down, in the order they went down */
    this.held = new Map();
    /** @type {number | null} where the pointer is, in u; null: no pointer is down */
    this.live = null;
    /** @type {number | null} */
    this.pointer = null;
    this.sentAt = 0;
    /** @type {number | null} */
    this.sent = null;
    /** @type {number | null} */
    this.timer = null;
    addEventListener("keydown", (event) => this.#keyDown(event));
    addEventListener("keyup", (event) => this.#keyUp(event));
    addEventListener("blur", () => this.release());
    document.addEventListener("visibilitychange", () => document.hidden && this.release());
    stage.addEventListener("pointerdown", (event) => this.#pointerDown(event, stage));
    stage.addEventListener("pointermove", (event) => event.pointerId === this.pointer && this.#pointAt(event));
    for (const kind of /** @type {const} */ (["pointerup", "pointercancel", "lostpointercapture"])) {
      stage.addEventListener(kind, (event) => event.pointerId === this.pointer && this.#pointerUp());
    }
  }

  /** What the player wants right now: said again after a reconnect. */
  get wish() {
    if (this.live !== null) {
      return this.live;
    }
    const way = [...this.held.values()].pop();
    return way === undefined ? null : this.#end(way);
  }

  /** Let go of everything: nobody holds a key in a window that is not looked at. */
  release() {
    if (this.held.size > 0) {
      this.held.clear();
      this.#say(null);
    }
    this.#pointerUp();
  }

  /** @param {KeyboardEvent} event */
  #way(event) {
    const keys = this.keys();
    if (event.code === keys.up) {
      return "up";
    }
    if (event.code === keys.down) {
      return "down";
    }
    const arrows = this.court.isUpright ? (this.court.side === 1 ? ARROWS.upright1 : ARROWS.upright0) : ARROWS.flat;
    return /** @type {Record<string, Way>} */ (arrows)[event.code];
  }

  /** @param {KeyboardEvent} event */
  #keyDown(event) {
    const way = this.#way(event);
    if (way === undefined || !this.isEnabled || event.ctrlKey || event.altKey || event.metaKey || isTyping(event)) {
      return;
    }
    event.preventDefault();
    if (!event.repeat) {
      this.held.delete(event.code);
      this.held.set(event.code, way);
      this.#say(this.#end(way));
    }
  }

  /** @param {KeyboardEvent} event */
  #keyUp(event) {
    if (this.held.delete(event.code)) {
      const way = [...this.held.values()].pop();
      this.#say(way === undefined ? null : this.#end(way));
    }
  }

  /** @param {Way} way */
  #end(way) {
    return way === "up" ? margin(this.rules) : this.rules.height - margin(this.rules);
  }

  /**
   * @param {PointerEvent} event
   * @param {HTMLElement} stage
   */
  #pointerDown(event, stage) {
    const isOnPanel = event.target instanceof Element && event.target.closest(".overlay") !== null;
    if (!this.isEnabled || this.pointer !== null || event.button !== 0 || isOnPanel) {
      return;
    }
    const isOwnHalf = this.court.toField(event.clientX, event.clientY).x < this.rules.width / 2 === (this.court.side === 0);
    if (!isOwnHalf) {
      return;
    }
    this.pointer = event.pointerId;
    stage.setPointerCapture(event.pointerId);
    this.#pointAt(event);
  }

  /** @param {PointerEvent} event */
  #pointAt(event) {
    const least = margin(this.rules);
    const { y } = this.court.toField(event.clientX, event.clientY);
    this.live = Math.max(least, Math.min(this.rules.height - least, y));
    this.#flush();
  }

  #pointerUp() {
    this.pointer = null;
    if (this.live !== null) {
      this.#flush();
      this.live = null;
    }
  }

  /** Send where the pointer is, but not more often than the server likes. */
  #flush() {
    const target = this.live;
    if (target === null || (this.sent !== null && Math.abs(target - this.sent) < NUDGE)) {
      return;
    }
    const wait = this.sentAt + POINTER_MS - performance.now();
    if (wait <= 0) {
      this.#say(target);
    } else if (this.timer === null) {
      const last = target;
      this.timer = window.setTimeout(() => {
        this.timer = null;
        this.#say(this.live ?? last);
      }, wait);
    }
  }

  /** @param {number | null} target */
  #say(target) {
    if (this.timer !== null) {
      window.clearTimeout(this.timer);
      this.timer = null;
    }
    this.sentAt = performance.now();
    this.sent = target;
    if (this.isEnabled) {
      this.send(target);
    }
  }
}

/** @param {KeyboardEvent} event */
function isTyping(event) {
  const { target } = event;
  return target instanceof Element && target.closest("dialog, input, select, textarea") !== null;
}
