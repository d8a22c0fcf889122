// @ts-check
/** Whether our moves come later than the server may count them, and what to say of a slow line. */

const CLOCK_US = 5000; // clocks agree no better than this
const SHOWN_MS = 3000;
const SLOW_MS = 200; // round trip: beyond it the grace does not cover all of the way

export class Lateness {
  constructor() {
    this.until = 0;
    this.hasWarned = false;
  }

  /**
   * The server's answer to an input.
   * @param {number} claimed µs when the key went down
   * @param {number} counted µs from when it counts
   * @param {number} now ms
   */
  answered(claimed, counted, now) {
    if (counted > claimed + CLOCK_US) {
      this.until = now + SHOWN_MS;
    }
  }

  /** @param {number} now ms */
  isLate(now) {
    return now < this.until;
  }

  /**
   * Once a match, before it begins.
   * @param {number | null} rtt ms
   * @returns {boolean} whether to say what to expect
   */
  warns(rtt) {
    if (this.hasWarned || rtt === null || rtt <= SLOW_MS) {
      return false;
    }
    this.hasWarned = true;
    return true;
  }
}
