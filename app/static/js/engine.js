// @ts-check
/**
 * The rules of Pong: the twin of `app/engine/`, which is the reference. Both agree to the bit, so only `+ - * /`,
 * comparisons and truncation of positive numbers appear, in the same order. `tests/app/golden/` holds the proof.
 *
 * States and events are the plain objects of the wire (docs/protocol.md) and are never changed in place.
 * Times are whole microseconds of match time, lengths field units (u), speeds u/s.
 */

/**
 * @typedef {{points: number, width: number, height: number, ball_radius: number, paddle_half: number,
 *   paddle_speed: number, serve_speed: number, speed_max: number, slope_max: number, grace_max: number}} Field
 * @typedef {Field & {version: 1, speed_gain: number}} Rules1
 * @typedef {Field & {version: 2, paddle_half_min: number, shrink: number, shrink_after: number, speed_step: number,
 *   speed_base: number, smash: number}} Rules2
 * @typedef {Rules1 | Rules2} Rules
 * @typedef {{t: number, x: number, y: number, vx: number, vy: number}} Ball
 * @typedef {{t: number, y: number, target: number}} Paddle
 * @typedef {"ready" | "serve" | "rally" | "paused" | "over"} Phase
 * @typedef {{schema: number, rules: Rules, version: number, phase: Phase, t: number, ball: Ball | null,
 *   paddles: [Paddle, Paddle], score: [number, number], rally_hits: number, winner: number | null,
 *   reason: string | null}} MatchState
 * @typedef {{t: number, side: number, y: number}} Crossing
 * @typedef {{k: "serve", v: number, t: number, x: number, y: number, vx: number, vy: number}} Serve
 * @typedef {{k: "pad", v: number, t: number, side: number, y: number, target: number, seq: number}} Pad
 * @typedef {{k: "hit", v: number, t: number, side: number, n: number, x: number, y: number, vx: number,
 *   vy: number}} Hit
 * @typedef {{k: "point", v: number, t: number, side: number, score: [number, number]}} Point
 * @typedef {{k: "pause", v: number, t: number, reason: string, side: number | null}} Pause
 * @typedef {{k: "resume", v: number, t: number}} Resume
 * @typedef {{k: "end", v: number, t: number, winner: number | null, reason: string,
 *   score: [number, number]}} End
 * @typedef {Serve | Pad | Hit | Point | Pause | Resume | End} MatchEvent
 */

const SECOND = 1000000;
const SCHEMA = 1;

/** @type {Readonly<Rules2>} */
export const RULES = Object.freeze({
  points: 7,
  width: 1000,
  height: 600,
  ball_radius: 10,
  paddle_half: 52,
  paddle_speed: 560,
  serve_speed: 560,
  speed_max: 1667,
  slope_max: 1.4,
  grace_max: 150000,
  version: 2,
  paddle_half_min: 26,
  shrink: 2,
  shrink_after: 2,
  speed_step: 50,
  speed_base: 1300,
  smash: 1.2,
});

/**
 * Least distance of a paddle's centre from the walls.
 * @param {Rules} rules
 * @returns {number}
 */
export function margin(rules) {
  return rules.version === 1 ? rules.paddle_half : rules.paddle_half_min;
}

/**
 * Half of the paddles' height in a rally of so many hits.
 * @param {Rules} rules
 * @param {number} hits
 * @returns {number}
 */
export function halfAt(rules, hits) {
  if (rules.version === 1 || hits <= rules.shrink_after) {
    return rules.paddle_half;
  }
  const half = rules.paddle_half - rules.shrink * (hits - rules.shrink_after);
  return half > rules.paddle_half_min ? half : rules.paddle_half_min;
}

/**
 * Horizontal speed of a ball that came with `speed` and met the paddle at `offset`, -1 to 1.
 * @param {Rules} rules
 * @param {number} speed
 * @param {number} hits
 * @param {number} offset
 * @returns {number}
 */
export function speedAfter(rules, speed, hits, offset) {
  let faster;
  if (rules.version === 1) {
    faster = speed * rules.speed_gain;
  } else {
    let base = rules.serve_speed + rules.speed_step * (hits + 1);
    if (base > rules.speed_base) {
      base = rules.speed_base;
    }
    faster = base * (1 + rules.smash * offset * offset);
  }
  return faster > rules.speed_max ? rules.speed_max : faster;
}

/**
 * A match at time 0 and version 0: paddles in the middle, no ball, nil all.
 * @param {Rules} rules
 * @returns {MatchState}
 */
export function initial(rules = RULES) {
  const middle = rules.height / 2;
  return {
    schema: SCHEMA,
    rules,
    version: 0,
    phase: "ready",
    t: 0,
    ball: null,
    paddles: [
      { t: 0, y: middle, target: middle },
      { t: 0, y: middle, target: middle },
    ],
    score: [0, 0],
    rally_hits: 0,
    winner: null,
    reason: null,
  };
}

/**
 * The state of a `welcome` message. Throws if this code is too old to know it: reload the page.
 * @param {MatchState} data
 * @returns {MatchState}
 */
export function stateFromJson(data) {
  if (data.schema !== SCHEMA || ![1, 2].includes(data.rules.version)) {
    throw new Error(`state of schema ${data.schema}, rules ${data.rules.version} is not known here`);
  }
  return data;
}

/**
 * Centre of the ball at `t`. Before its own start it rests there; behind a plane it flies on.
 * @param {Ball} ball
 * @param {number} t
 * @param {Rules} rules
 * @returns {[number, number]}
 */
export function ballAt(ball, t, rules = RULES) {
  const elapsed = t > ball.t ? t - ball.t : 0;
  const low = rules.ball_radius;
  const high = rules.height - rules.ball_radius;
  const x = ball.x + (ball.vx * elapsed) / SECOND;
  let y = ball.y + (ball.vy * elapsed) / SECOND;
  while (y < low || y > high) {
    y = y < low ? low + low - y : high + high - y;
  }
  return [x, y];
}

/**
 * Centre of the paddle at `t`. Before its segment starts it rests at the start of it.
 * @param {Paddle} paddle
 * @param {number} t
 * @param {Rules} rules
 * @returns {number}
 */
export function paddleAt(paddle, t, rules = RULES) {
  const elapsed = t > paddle.t ? t - paddle.t : 0;
  const way = (rules.paddle_speed * elapsed) / SECOND;
  if (paddle.target > paddle.y) {
    const y = paddle.y + way;
    return y < paddle.target ? y : paddle.target;
  }
  const y = paddle.y - way;
  return y > paddle.target ? y : paddle.target;
}

/**
 * The next moment at which something has to be decided, or null while no ball is in play.
 * @param {MatchState} state
 * @returns {Crossing | null}
 */
export function nextCrossing(state) {
  const { ball, rules } = state;
  if (ball === null) {
    return null;
  }
  const side = ball.vx < 0 ? 0 : 1;
  const way = side === 0 ? ball.x : rules.width - ball.x;
  const speed = side === 0 ? -ball.vx : ball.vx;
  const t = ball.t + Math.trunc((way * SECOND) / speed);
  return { t, side, y: ballAt(ball, t, rules)[1] };
}

/**
 * The state after `event`. Throws on a version gap, after the end, or when time would run backwards.
 * @param {MatchState} state
 * @param {MatchEvent} event
 * @returns {MatchState}
 */
export function apply(state, event) {
  if (event.v !== state.version + 1) {
    throw new Error(`version gap: state has ${state.version}, event is ${event.v}`);
  }
  if (state.phase === "over") {
    throw new Error(`the match is over, ${event.k} ${event.v} cannot follow`);
  }
  const since = event.k === "pad" ? state.paddles[event.side].t : state.t;
  if (event.t < since) {
    throw new Error(`time runs backwards: ${event.k} ${event.v} at ${event.t}, already at ${since}`);
  }
  const version = event.v;
  const t = event.t;
  switch (event.k) {
    case "pad": {
      const paddle = { t, y: event.y, target: event.target };
      const [left, right] = state.paddles;
      return { ...state, version, paddles: event.side === 0 ? [paddle, right] : [left, paddle] };
    }
    case "serve":
      return { ...state, version, phase: "serve", ball: line(event), rally_hits: 0 };
    case "hit":
      return { ...state, version, phase: "rally", t, ball: line(event), rally_hits: event.n };
    case "point":
      return { ...state, version, phase: "ready", t, ball: null, score: event.score };
    case "pause":
      return { ...state, version, phase: "paused", t, ball: null, reason: event.reason };
    case "resume":
      return { ...state, version, phase: "ready", t, reason: null };
    case "end": {
      const { score, winner, reason } = event;
      return { ...state, version, phase: "over", t, ball: null, score, winner, reason };
    }
    default:
      throw new Error("unknown kind of event");
  }
}

/**
 * The ball leaves the middle at `t` to the left (`direction` -1) or right (1); `slope` is vy/|vx|, clamped.
 * @param {MatchState} state
 * @param {number} t
 * @param {number} direction
 * @param {number} slope
 * @returns {MatchEvent[]}
 */
export function serve(state, t, direction, slope) {
  if (state.phase !== "ready") {
    throw new Error(`a serve needs the phase ready, not ${state.phase}`);
  }
  const { rules } = state;
  const speed = rules.serve_speed;
  const vy = speed * clamp(slope, -rules.slope_max, rules.slope_max);
  const v = state.version + 1;
  return [{ k: "serve", v, t, x: rules.width / 2, y: rules.height / 2, vx: direction * speed, vy }];
}

/**
 * The paddle of `side` moves toward `target` (clamped to the field; null: stops) from `t` on. An input from beyond
 * the paddle's own pending crossing settles that crossing first.
 * @param {MatchState} state
 * @param {number} t
 * @param {number} side
 * @param {number | null} target
 * @param {number} seq
 * @returns {MatchEvent[]}
 */
export function move(state, t, side, target, seq = 0) {
  /** @type {MatchEvent[]} */
  let settled = [];
  const crossing = nextCrossing(state);
  if (crossing !== null && crossing.side === side && t >= crossing.t) {
    settled = decide(state);
    state = settled.reduce(apply, state);
  }
  if (state.phase === "over") {
    return settled;
  }
  const { rules } = state;
  const paddle = state.paddles[side];
  if (t < paddle.t) {
    throw new Error(`paddle ${side} has moved at ${paddle.t}, it cannot move at ${t}`);
  }
  const y = paddleAt(paddle, t, rules);
  const goal = target === null ? y : clamp(target, margin(rules), rules.height - margin(rules));
  return [...settled, { k: "pad", v: state.version + 1, t, side, y, target: goal, seq }];
}

/**
 * What comes of the next crossing: a `hit`, or a `point` and, with the last one, the `end`.
 * @param {MatchState} state
 * @returns {MatchEvent[]}
 */
export function decide(state) {
  const crossing = nextCrossing(state);
  if (crossing === null || state.ball === null) {
    throw new Error(`no ball is in play (phase ${state.phase})`);
  }
  const { rules } = state;
  const { t, side } = crossing;
  const v = state.version + 1;
  const reach = halfAt(rules, state.rally_hits) + rules.ball_radius;
  const offset = crossing.y - paddleAt(state.paddles[side], t, rules);
  if (-reach <= offset && offset <= reach) {
    const incoming = side === 1 ? state.ball.vx : -state.ball.vx;
    const speed = speedAfter(rules, incoming, state.rally_hits, offset / reach);
    const x = side === 0 ? 0 : rules.width;
    const vx = side === 0 ? speed : -speed;
    const vy = speed * ((offset / reach) * rules.slope_max);
    return [{ k: "hit", v, t, side, n: state.rally_hits + 1, x, y: crossing.y, vx, vy }];
  }
  const [left, right] = state.score;
  /** @type {[number, number]} */
  const score = side === 0 ? [left, right + 1] : [left + 1, right];
  const scorer = 1 - side;
  /** @type {Point} */
  const point = { k: "point", v, t, side: scorer, score };
  if (score[scorer] < rules.points) {
    return [point];
  }
  return [point, { k: "end", v: v + 1, t, winner: scorer, reason: "score", score }];
}

/**
 * @param {Ball} event
 * @returns {Ball}
 */
function line({ t, x, y, vx, vy }) {
  return { t, x, y, vx, vy };
}

/**
 * @param {number} value
 * @param {number} low
 * @param {number} high
 */
function clamp(value, low, high) {
  if (value > high) {
    return high;
  }
  return value >= low ? value : low;
}
