// @ts-check
/** A stored match as a source of events: what had happened by any moment, and where its rallies begin. */

import { apply } from "./engine.js";

const COUNTDOWN_US = 1500000; // a serve is known this long before the ball leaves
const AFTER_US = 1200000; // of the last event: the ball that was missed flies out

/**
 * @typedef {import("./engine.js").MatchState} MatchState
 * @typedef {import("./engine.js").MatchEvent} MatchEvent
 * @typedef {{at: number, end: number, score: [number, number], hits: number}} Rally from its countdown to its point
 */

export class Timeline {
  /**
   * @param {MatchState} start key frame at version 0
   * @param {MatchEvent[]} events all of them
   */
  constructor(start, events) {
    this.events = events;
    this.states = [start];
    for (const event of events) {
      this.states.push(apply(this.states[this.states.length - 1], event));
    }
    this.moments = moments(events);
    this.duration = events.length === 0 ? 0 : events[events.length - 1].t + AFTER_US;
    this.rallies = this.#rallies();
  }

  /**
   * How many events have happened by `t`.
   * @param {number} t µs
   */
  count(t) {
    let low = 0;
    let high = this.moments.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.moments[middle] <= t) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }

  /**
   * Which rally `t` belongs to.
   * @param {number} t µs
   */
  rallyAt(t) {
    return Math.max(0, this.rallies.findLastIndex((rally) => rally.at <= t));
  }

  /** @returns {Rally[]} */
  #rallies() {
    /** @type {Rally[]} */
    const rallies = [];
    /** @type {number | null} */
    let at = null;
    this.events.forEach((event, index) => {
      if (event.k === "serve") {
        at ??= this.moments[index];
      } else if (event.k === "point" || (event.k === "end" && at !== null)) {
        rallies.push({ at: at ?? event.t, end: event.t, score: event.score, hits: this.states[index].rally_hits });
        at = null;
      }
    });
    return rallies;
  }
}

/**
 * When each event is shown. Versions are the order, not times: a serve carries the time at which the ball leaves, and
 * paddles move before that. So a serve is known for a countdown, and nothing waits for what came before it.
 * @param {MatchEvent[]} events
 * @returns {number[]} µs, never falling
 */
function moments(events) {
  const shown = events.map((event) => (event.k === "serve" ? Math.max(0, event.t - COUNTDOWN_US) : event.t));
  for (let index = shown.length - 2; index >= 0; index -= 1) {
    shown[index] = Math.min(shown[index], shown[index + 1]);
  }
  let last = 0;
  events.forEach((event, index) => {
    if (event.k === "point" || event.k === "end") {
      last = event.t; // the next rally is not announced before the point
    }
    shown[index] = Math.max(shown[index], last);
  });
  return shown;
}
