// @ts-check
/** Who is away, and how long that may last: the same seconds for the one who waits and the one who is away. */

const GRACE_MS = 30000; // of a match, until the server says what is left

export class Absence {
  constructor() {
    this.grace = [GRACE_MS, GRACE_MS];
    /** @type {(number | null)[]} since when each side is away, by performance.now() */
    this.since = [null, null];
  }

  /**
   * The server's word.
   * @param {{side: number, online: boolean, grace_ms: number}} peer
   * @param {number} now ms
   */
  told({ side, online, grace_ms }, now) {
    this.grace[side] = grace_ms;
    this.since[side] = online ? null : now;
  }

  /**
   * We hear nothing any more, so the server hears nothing of us.
   * @param {number} side
   * @param {number} heard ms: when we heard last
   */
  cutOff(side, heard) {
    this.since[side] ??= heard;
  }

  /** @param {number} side */
  back(side) {
    this.since[side] = null;
  }

  /** Play goes on: nobody is away. */
  clear() {
    this.since = [null, null];
  }

  /**
   * @param {number} side
   * @param {number} now ms
   * @returns {number | null} whole seconds left to come back; null: that player is here
   */
  left(side, now) {
    const since = this.since[side];
    return since === null ? null : Math.max(0, Math.ceil((this.grace[side] - (now - since)) / 1000));
  }
}
