// @ts-check
/**
 * What to show before the server has said it. Events are the truth, but they are late by the way they travel:
 * the own paddle runs ahead on our inputs, bounces are foreseen by the same rules that the server uses, and whatever
 * turns out otherwise is walked in, never jumped. Points come from the server alone.
 */

import { apply, ballAt, decide, margin, nextCrossing, paddleAt } from "./engine.js";

const BLEND_MS = 45; // time constant of a correction: gone after about 130 ms
const FOLLOW = 36; // u: how far the drawn paddle may be ahead of what was sent, while a pointer drags it
const WALK = 3; // times the paddle's speed: how fast the opponent's drawn paddle goes to where it is
const JUMP = 450; // u: a ball that is further off than this is another ball
const SECOND = 1000000;

/**
 * @typedef {import("./engine.js").MatchState} MatchState
 * @typedef {import("./engine.js").Paddle} Paddle
 * @typedef {import("./engine.js").Rules} Rules
 * @typedef {import("./engine.js").Ball} Ball
 * @typedef {{seq: number, at: number, target: number | null}} Input
 */

/** The own paddle: the server's last word about it, and our inputs since. */
export class OwnPaddle {
  /** @param {Rules} rules */
  constructor(rules) {
    const middle = rules.height / 2;
    this.rules = rules;
    /** @type {Paddle[]} */
    this.segments = [{ t: 0, y: middle, target: middle }];
    /** @type {Input[]} */
    this.pending = [];
    this.shown = middle;
    this.error = 0;
  }

  /**
   * Take the server's word without blending, and forget what is under way.
   * @param {Paddle} paddle
   */
  reset(paddle) {
    this.segments = [paddle];
    this.pending = [];
  }

  /** @param {Input} input */
  press(input) {
    this.pending.push(input);
    this.segments.push(this.#next(this.segments[this.segments.length - 1], input));
  }

  /**
   * The server's segment that answers the inputs up to `seq`.
   * @param {Paddle & {seq: number}} pad
   * @param {number} now
   */
  confirm(pad, now) {
    const before = this.at(now);
    this.pending = this.pending.filter((input) => input.seq > pad.seq);
    this.segments = [{ t: pad.t, y: pad.y, target: pad.target }];
    for (const input of this.pending) {
      this.segments.push(this.#next(this.segments[this.segments.length - 1], input));
    }
    this.error += before - this.at(now);
  }

  /**
   * Where the paddle is at `t` by everything that was sent.
   * @param {number} t
   * @returns {number}
   */
  at(t) {
    const segment = this.segments.findLast((candidate) => candidate.t <= t) ?? this.segments[0];
    return paddleAt(segment, t, this.rules);
  }

  /**
   * Where to draw it.
   * @param {number} now
   * @param {number} elapsed µs since the last frame
   * @param {number | null} live where the pointer is, sent or not; null: no pointer
   * @returns {number}
   */
  draw(now, elapsed, live) {
    const truth = this.at(now);
    if (live === null) {
      this.error = fade(this.error, elapsed);
    } else {
      const way = (this.rules.paddle_speed * elapsed) / SECOND;
      const y = approach(this.shown, live, way);
      this.error = Math.max(-FOLLOW, Math.min(FOLLOW, y - truth));
    }
    this.shown = truth + this.error;
    return this.shown;
  }

  /**
   * @param {Paddle} from
   * @param {Input} input
   * @returns {Paddle}
   */
  #next(from, { at, target }) {
    const t = Math.max(at, from.t);
    const y = paddleAt(from, t, this.rules);
    const least = margin(this.rules);
    return { t, y, target: target === null ? y : Math.max(least, Math.min(this.rules.height - least, target)) };
  }
}

/**
 * The state as it most likely is by `now`: bounces that the server has not told of yet are played by the rules.
 * A predicted miss changes nothing, the ball flies on behind the paddle until the server says what it was.
 * @param {MatchState} state
 * @param {number} now
 * @param {{side: number, at: (t: number) => number} | null} own
 * @returns {MatchState}
 */
export function foresee(state, now, own) {
  for (;;) {
    const crossing = nextCrossing(state);
    if (crossing === null || crossing.t > now) {
      return state;
    }
    const [event] = decide(own?.side === crossing.side ? withPaddle(state, crossing, own.at(crossing.t)) : state);
    if (event.k !== "hit") {
      return state;
    }
    state = apply(state, event);
  }
}

/**
 * @param {MatchState} state
 * @param {{t: number, side: number}} crossing
 * @param {number} y
 * @returns {MatchState}
 */
function withPaddle(state, { t, side }, y) {
  const paddle = { t, y, target: y };
  const [left, right] = state.paddles;
  return { ...state, paddles: side === 0 ? [paddle, right] : [left, paddle] };
}

/**
 * @typedef {object} Scene
 * @property {{x: number, y: number, speed: number, waiting: number} | null} ball `waiting`: µs until it is served
 * @property {number} direction of the ball, -1 or 1
 * @property {[number, number]} paddles
 * @property {number} hits of this rally, foreseen ones too
 * @property {{side: number, x: number, y: number, n: number, speed: number} | null} hit that happened in this frame
 * @property {boolean} bounced off a wall in this frame
 */

/** Draws scene after scene from the state of the match, and smooths what had to be corrected. */
export class Stage {
  /** @param {Rules} rules */
  constructor(rules) {
    this.rules = rules;
    /** @type {[number, number]} */
    this.paddles = [rules.height / 2, rules.height / 2];
    /** @type {Ball | null} */
    this.ball = null;
    this.error = { x: 0, y: 0 };
    this.last = 0;
    this.rise = 0;
    this.y = 0;
    this.hits = 0;
  }

  /**
   * @param {MatchState} state what the server has told
   * @param {number} now µs
   * @param {{side: number, paddle: OwnPaddle, live: number | null} | null} own null: a spectator
   * @returns {Scene}
   */
  scene(state, now, own) {
    const elapsed = Math.max(0, Math.min(now - this.last, SECOND / 4));
    const likely = foresee(state, now, own && { side: own.side, at: (t) => own.paddle.at(t) });
    for (const side of /** @type {const} */ ([0, 1])) {
      if (own?.side === side) {
        this.paddles[side] = own.paddle.draw(now, elapsed, own.live);
      } else {
        const way = (WALK * this.rules.paddle_speed * elapsed) / SECOND;
        this.paddles[side] = approach(this.paddles[side], paddleAt(state.paddles[side], now, this.rules), way);
      }
    }
    const hit = likely.rally_hits > this.hits && likely.ball !== null && likely.phase === "rally";
    this.hits = likely.rally_hits;
    const scene = this.#ball(likely, now, elapsed);
    this.last = now;
    return { ...scene, paddles: [...this.paddles], hits: this.hits, hit: hit && likely.ball ? strike(likely.ball, likely.rally_hits) : null };
  }

  /**
   * @param {MatchState} state
   * @param {number} now
   * @param {number} elapsed
   * @returns {Pick<Scene, "ball" | "direction" | "bounced">}
   */
  #ball(state, now, elapsed) {
    const { ball } = state;
    if (ball === null) {
      // The ball that was missed flies out of the picture.
      const gone = this.ball;
      if (gone === null || now - state.t > SECOND / 2) {
        this.ball = null;
        return { ball: null, direction: 1, bounced: false };
      }
      const [x, y] = ballAt(gone, now, this.rules);
      return { ball: { x, y, speed: Math.abs(gone.vx), waiting: 0 }, direction: Math.sign(gone.vx), bounced: false };
    }
    const [x, y] = ballAt(ball, now, this.rules);
    if (this.ball !== null && !same(this.ball, ball) && ball.t < this.last) {
      const [oldX, oldY] = ballAt(this.ball, now, this.rules);
      const far = Math.abs(oldX - x) + Math.abs(oldY - y) > JUMP;
      this.error = far ? { x: 0, y: 0 } : { x: this.error.x + oldX - x, y: this.error.y + oldY - y };
    }
    this.error = { x: fade(this.error.x, elapsed), y: fade(this.error.y, elapsed) };
    const isSame = this.ball !== null && same(this.ball, ball);
    const rise = Math.sign(y - this.y);
    const bounced = isSame && rise !== 0 && this.rise !== 0 && rise !== this.rise && Math.abs(this.error.y) < 1;
    this.rise = rise === 0 ? this.rise : rise;
    this.y = y;
    this.ball = ball;
    return {
      ball: { x: x + this.error.x, y: y + this.error.y, speed: Math.abs(ball.vx), waiting: Math.max(0, ball.t - now) },
      direction: Math.sign(ball.vx),
      bounced,
    };
  }
}

/**
 * @param {Ball} ball just after the hit
 * @param {number} n
 */
function strike(ball, n) {
  return { side: ball.vx > 0 ? 0 : 1, x: ball.x, y: ball.y, n, speed: Math.abs(ball.vx) };
}

/**
 * @param {Ball} a
 * @param {Ball} b
 */
function same(a, b) {
  return a.t === b.t && a.vx === b.vx && a.vy === b.vy && a.y === b.y;
}

/**
 * @param {number} error
 * @param {number} elapsed µs
 */
function fade(error, elapsed) {
  const left = error * Math.exp(-elapsed / (BLEND_MS * 1000));
  return Math.abs(left) < 0.05 ? 0 : left;
}

/**
 * @param {number} from
 * @param {number} to
 * @param {number} way at most
 */
function approach(from, to, way) {
  return from + Math.max(-way, Math.min(way, to - from));
}
