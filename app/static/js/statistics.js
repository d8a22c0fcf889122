// @ts-check
/** What the end card tells about a match, from its timeline. */

const SECOND = 1000000;
const METRES = 23.77 / 1000; // a field unit, if the court were a tennis court

export class Statistics {
  /** @param {boolean} isComplete false: the timeline was not seen from its beginning */
  constructor(isComplete = true) {
    this.isComplete = isComplete;
    this.longest = 0; // hits
    this.fastest = 0; // km/h
    this.seconds = 0;
    /** @type {number | null} */
    this.began = null;
  }

  /** @param {import("./engine.js").MatchEvent} event */
  add(event) {
    if (event.k === "serve" || event.k === "hit") {
      const speed = Math.hypot(event.vx, event.vy) * METRES * 3.6;
      this.fastest = Math.max(this.fastest, Math.round(speed));
    }
    if (event.k === "serve") {
      this.began ??= event.t;
    }
    if (event.k === "hit") {
      this.longest = Math.max(this.longest, event.n);
    }
    if (event.k === "end") {
      this.seconds = this.began === null ? 0 : Math.max(0, event.t - this.began) / SECOND;
    }
  }
}
