// @ts-check
/**
 * The match clock: what time it is in the match, by the server's clock.
 *
 * A probe carries our time out and brings the server's back. The round trip bounds the error, so the sample with the
 * shortest one is believed (the clock filter of NTP). The estimate is then slewed, never yanked, unless it is far off.
 */

const WINDOW = 16; // samples
const BURST = 6; // samples until the estimate is trusted; before that it is set, not slewed
const SLEW = 0.005; // at most 5 ms a second
const STEP_MS = 80; // an error beyond this is not drift: step
const OUTLIER = 1.5; // times the median round trip

/** @typedef {{rtt: number, offset: number, lag: number}} Sample in ms */

export class Clock {
  /** @param {() => number} local a monotonic clock in ms */
  constructor(local = () => performance.now()) {
    this.local = local;
    /** @type {Sample[]} */
    this.samples = [];
    this.offset = 0; // match time - local time, ms
    this.goal = 0;
    this.touched = local();
  }

  /** Six probes have been answered since the start, or since the last restart. */
  get settled() {
    return this.samples.length >= BURST;
  }

  /**
   * A first guess, before any probe is answered.
   * @param {number} matchTime µs
   */
  seed(matchTime) {
    if (this.samples.length === 0) {
      this.goal = matchTime / 1000 - this.local();
      this.#step();
    }
  }

  /** Forget the samples: the machine slept, or the match has another owner. The estimate runs on until new ones come. */
  restart() {
    this.samples = [];
  }

  /**
   * An answered probe.
   * @param {number} sent our clock when it left, ms
   * @param {number} server match time when it was answered, µs
   * @param {number} lag for how long it lay with the server, ms
   */
  sample(sent, server, lag = 0) {
    const received = this.local();
    const rtt = received - sent;
    this.#adjust(received);
    this.samples.push({ rtt, offset: server / 1000 - (sent + received) / 2, lag });
    if (this.samples.length > WINDOW) {
      this.samples.shift();
    }
    const limit = OUTLIER * median(this.samples.map((sample) => sample.rtt));
    const usable = this.samples.filter((sample) => sample.rtt <= limit);
    const best = usable.reduce((a, b) => (b.rtt < a.rtt ? b : a));
    this.goal = best.offset;
    if (!this.settled || Math.abs(this.goal - this.offset) > STEP_MS) {
      this.#step();
    }
  }

  /** @returns {number} match time, whole µs */
  now() {
    const local = this.local();
    this.#adjust(local);
    return Math.round((local + this.offset) * 1000);
  }

  /** @returns {number | null} round trip in ms; null: not measured yet */
  get rtt() {
    return this.samples.length === 0 ? null : median(this.samples.map((sample) => sample.rtt));
  }

  /** @returns {number} how much of a round trip the server's own delay was lately, at worst, ms */
  get lag() {
    return Math.max(0, ...this.samples.map((sample) => sample.lag));
  }

  /** @returns {number} mean distance of the round trips from their median, ms */
  get jitter() {
    const middle = this.rtt ?? 0;
    const total = this.samples.reduce((sum, sample) => sum + Math.abs(sample.rtt - middle), 0);
    return total / Math.max(1, this.samples.length);
  }

  /** @param {number} local */
  #adjust(local) {
    const most = SLEW * (local - this.touched);
    const error = this.goal - this.offset;
    this.offset += Math.max(-most, Math.min(most, error));
    this.touched = local;
  }

  #step() {
    this.offset = this.goal;
    this.touched = this.local();
  }
}

/**
 * @param {number[]} values at least one
 * @returns {number}
 */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
