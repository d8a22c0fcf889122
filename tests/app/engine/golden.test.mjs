// The JavaScript rules repeat, to the bit, the matches that the Python rules played (tests/app/golden/generate.py).
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const read = (path) => readFileSync(new URL(path, import.meta.url), "utf8");

// Not a plain import: Node before 20.19 takes a .js file without a package.json for CommonJS.
const source = read("../../../app/static/js/engine.js");
const engine = await import(`data:text/javascript,${encodeURIComponent(source)}`);
const VERSIONS = [1, 2];
const golden = VERSIONS.map((version) => JSON.parse(read(`../golden/rules${version}.json`)));
const matches = golden.flat();

const CALLS = { serve: engine.serve, move: engine.move, decide: engine.decide };

matches.forEach((match, number) => {
  test(`match ${number}: every call gives the events, crossings and positions of the reference`, () => {
    let state = engine.initial(match.rules);
    for (const { call, events, crossing, field } of match.steps) {
      const [name, ...rest] = call;
      if (name in CALLS) {
        assert.deepStrictEqual(CALLS[name](state, ...rest), events);
      }
      state = events.reduce(engine.apply, state);
      const next = engine.nextCrossing(state);
      assert.deepStrictEqual(next && [next.t, next.side, next.y], crossing);
      const [t, ball, left, right] = field;
      assert.deepStrictEqual(state.ball && engine.ballAt(state.ball, t, state.rules), ball);
      assert.deepStrictEqual([0, 1].map((side) => engine.paddleAt(state.paddles[side], t, state.rules)), [left, right]);
    }
    assert.deepStrictEqual(state, match.state);
  });

  test(`match ${number}: a key frame from the middle leads to the same end`, () => {
    const events = match.steps.flatMap((step) => step.events);
    const middle = Math.trunc(events.length / 2);
    const half = events.slice(0, middle).reduce(engine.apply, engine.initial(match.rules));
    const frame = engine.stateFromJson(JSON.parse(JSON.stringify(half)));
    assert.deepStrictEqual(events.slice(middle).reduce(engine.apply, frame), match.state);
  });
});

test("the standard rules are those of the reference", () => {
  assert.deepStrictEqual({ ...engine.RULES, points: 7 }, golden.at(-1).at(-1).rules);
});

test("a version gap and anything after the end are refused", () => {
  const [serve] = engine.serve(engine.initial(), 1200000, 1, 0);
  assert.throws(() => engine.apply(engine.initial(), { ...serve, v: 2 }), /version gap/);
  const over = matches[0].state;
  assert.throws(() => engine.apply(over, { ...serve, v: over.version + 1 }), /over/);
  assert.throws(() => engine.decide(over), /no ball/);
});
