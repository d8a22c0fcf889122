// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { apply, ballAt, decide, initial, move, nextCrossing, RULES, serve } from "../../../app/static/js/engine.js";
import { foresee, OwnPaddle, Stage } from "../../../app/static/js/predict.js";

const FRAME = 16_667;

/** A serve at 1 s to the left, straight at the middle of the paddle. */
function rally() {
  return serve(initial(RULES), 1_000_000, -1, 0).reduce(apply, initial(RULES));
}

test("the own paddle moves in the frame of the key, before the server has said anything", () => {
  const own = new OwnPaddle(RULES);
  own.press({ seq: 1, at: 500_000, target: 50 });
  own.draw(500_000, FRAME, null);
  assert.equal(own.draw(600_000, FRAME, null), 300 - RULES.paddle_speed / 10);
});

test("the server's word about our input changes nothing when it is what we thought", () => {
  const own = new OwnPaddle(RULES);
  own.press({ seq: 1, at: 500_000, target: 50 });
  own.press({ seq: 2, at: 600_000, target: null });
  const before = own.at(900_000);
  own.confirm({ seq: 1, t: 500_000, y: 300, target: 50 }, 650_000);
  assert.equal(own.at(900_000), before);
  assert.deepEqual(own.pending.map((input) => input.seq), [2]);
  assert.equal(own.error, 0);
});

test("an input that the server counted later is walked in, not jumped", () => {
  const own = new OwnPaddle(RULES);
  own.press({ seq: 1, at: 500_000, target: 50 });
  const shown = own.draw(700_000, FRAME, null);
  own.confirm({ seq: 1, t: 550_000, y: 300, target: 50 }, 700_000);
  const next = own.draw(700_000 + FRAME, FRAME, null);
  assert.ok(Math.abs(next - shown) < 40, `jumped by ${next - shown}`);
  let y = next;
  for (let now = 700_000 + 2 * FRAME; now < 1_200_000; now += FRAME) {
    y = own.draw(now, FRAME, null);
  }
  assert.ok(Math.abs(y - own.at(1_199_000)) < 1);
});

test("a dragged paddle follows the pointer at the speed of all paddles", () => {
  const own = new OwnPaddle(RULES);
  own.press({ seq: 1, at: 0, target: 500 });
  const first = own.draw(FRAME, FRAME, 500);
  assert.ok(Math.abs(first - 300 - (RULES.paddle_speed * FRAME) / 1_000_000) < 0.01);
  assert.ok(own.draw(20 * FRAME, FRAME, 500) <= 500);
});

test("our own bounce is played before the server tells of it, and is the server's", () => {
  const state = rally();
  const crossing = nextCrossing(state);
  assert.ok(crossing);
  const own = new OwnPaddle(RULES);
  own.press({ seq: 1, at: crossing.t - 30_000, target: 550 });
  const after = foresee(state, crossing.t + 50_000, { side: 0, at: (t) => own.at(t) });
  const truth = move(state, crossing.t - 30_000, 0, 550, 1).reduce(apply, state);
  const [hit] = decide(truth);
  assert.equal(hit.k, "hit");
  assert.equal(after.phase, "rally");
  assert.deepEqual(after.ball, { t: hit.t, x: hit.x, y: hit.y, vx: hit.vx, vy: hit.vy });
});

test("a move after the crossing does not undo the bounce", () => {
  const state = rally();
  const crossing = nextCrossing(state);
  assert.ok(crossing);
  const own = new OwnPaddle(RULES);
  own.press({ seq: 1, at: crossing.t + 1, target: 550 });
  const after = foresee(state, crossing.t + 100_000, { side: 0, at: (t) => own.at(t) });
  assert.equal(after.ball?.vy, 0);
});

test("a foreseen miss is no point: the ball flies on behind the paddle", () => {
  const state = move(rally(), 0, 0, 550).reduce(apply, rally());
  const crossing = nextCrossing(state);
  assert.ok(crossing);
  const now = crossing.t + 100_000;
  const after = foresee(state, now, null);
  assert.deepEqual(after.score, [0, 0]);
  assert.ok(after.ball && ballAt(after.ball, now)[0] < 0);
});

test("a late save is blended in: the drawn ball never jumps", () => {
  let state = move(rally(), 0, 0, 550).reduce(apply, rally());
  const crossing = nextCrossing(state);
  assert.ok(crossing);
  const stage = new Stage(RULES);
  let last = null;
  for (let now = crossing.t - 200_000; now < crossing.t + 600_000; now += FRAME) {
    if (now > crossing.t + 90_000 && state.ball?.vx === -560) {
      state = apply(state, { k: "hit", v: state.version + 1, t: crossing.t, side: 0, n: 1, x: 0, y: 300, vx: 588, vy: 0 });
    }
    const { ball } = stage.scene(state, now, null);
    assert.ok(ball);
    if (last !== null) {
      assert.ok(Math.abs(ball.x - last) < 45, `${ball.x - last} u in a frame`);
    }
    last = ball.x;
  }
});

test("a hit is told once, whether it was foreseen or not", () => {
  const state = rally();
  const crossing = nextCrossing(state);
  assert.ok(crossing);
  const stage = new Stage(RULES);
  let hits = 0;
  let told = state;
  for (let now = crossing.t - 100_000; now < crossing.t + 300_000; now += FRAME) {
    if (told === state && now > crossing.t + 80_000) {
      told = decide(state).reduce(apply, state);
    }
    hits += stage.scene(told, now, null).hit === null ? 0 : 1;
  }
  assert.equal(hits, 1);
});

test("the opponent's paddle walks to where it is, at three times its speed at most", () => {
  const state = rally();
  const stage = new Stage(RULES);
  stage.scene(state, 0, null);
  const moved = apply(state, { k: "pad", v: state.version + 1, t: 0, side: 1, y: 50, target: 50, seq: 0 });
  const { paddles } = stage.scene(moved, FRAME, null);
  assert.ok(Math.abs(paddles[1] - (300 - (3 * RULES.paddle_speed * FRAME) / 1_000_000)) < 0.01);
});
