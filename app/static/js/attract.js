// @ts-check
/** The rally behind the landing page: two machines that play by the real rules. */

import { apply, decide, halfAt, initial, move, nextCrossing, RULES, serve } from "./engine.js";
import { Stage } from "./predict.js";
import { Court } from "./render.js";

const PACE = 0.8; // of real time: calmer than a match
const RALLY = 11; // hits; then somebody misses
const PAUSE = 900000; // µs before a serve
const SECOND = 1000000;

/** @typedef {import("./engine.js").MatchState} MatchState */

/** A match that plays itself. */
export class Attract {
  /** @param {() => number} random in [0, 1) */
  constructor(random = Math.random) {
    this.random = random;
    this.state = initial({ ...RULES, points: 1000 });
    this.end = 0;
  }

  /**
   * @param {number} now µs
   * @returns {MatchState} by then
   */
  at(now) {
    for (;;) {
      if (this.state.phase === "ready") {
        this.end = 4 + Math.trunc(this.random() * (RALLY - 3));
        const direction = this.random() < 0.5 ? -1 : 1;
        this.#play(serve(this.state, this.state.t + PAUSE, direction, this.random() - 0.5));
        this.#chase(this.state.ball?.t ?? 0);
      }
      const crossing = nextCrossing(this.state);
      if (crossing === null || crossing.t > now) {
        return this.state;
      }
      this.#play(decide(this.state));
      this.#chase(crossing.t);
    }
  }

  /**
   * Who receives next goes to the ball, a little off its middle; the other one goes home.
   * @param {number} from µs
   */
  #chase(from) {
    const crossing = nextCrossing(this.state);
    if (crossing === null) {
      return;
    }
    const { height } = this.state.rules;
    const half = halfAt(this.state.rules, this.state.rally_hits);
    const isLast = this.state.rally_hits >= this.end;
    const off = isLast ? (crossing.y > height / 2 ? -1 : 1) * half * 1.7 : (this.random() - 0.5) * half * 1.5;
    const reaction = 120000 + this.random() * 120000;
    this.#play(move(this.state, from + reaction, crossing.side, crossing.y + off));
    this.#play(move(this.state, from + reaction, 1 - crossing.side, height / 2 + (this.random() - 0.5) * 160));
  }

  /** @param {import("./engine.js").MatchEvent[]} events */
  #play(events) {
    this.state = events.reduce(apply, this.state);
  }
}

/**
 * Play on `canvas` while it is looked at. With less motion wanted, a still picture of a rally.
 * @param {HTMLCanvasElement} canvas
 */
export function attract(canvas) {
  const match = new Attract();
  const court = new Court(canvas, RULES, { lines: 0.3 }); // words stand on it
  const stage = new Stage(RULES);
  let time = 2.4 * SECOND;
  let last = performance.now();
  let isVisible = true;
  new IntersectionObserver(([entry]) => (isVisible = entry.isIntersecting)).observe(canvas);

  /** @param {number} at ms */
  function frame(at) {
    if (isVisible && !court.isCalm) {
      time += Math.min(at - last, 100) * 1000 * PACE;
    }
    last = at;
    if (isVisible) {
      const now = Math.round(time);
      court.draw(stage.scene(match.at(now), now, null), now);
    }
    requestAnimationFrame(frame);
  }
  requestAnimationFrame(frame);
}
