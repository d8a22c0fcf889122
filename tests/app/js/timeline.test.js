// @ts-check
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { apply, initial } from "../../../app/static/js/engine.js";
import { Timeline } from "../../../app/static/js/timeline.js";

/** @type {any[]} */
const golden = [1, 2].flatMap((version) => JSON.parse(readFileSync(new URL(`../golden/rules${version}.json`, import.meta.url), "utf8")));
const matches = golden.map(({ rules, steps }) => ({ rules, events: steps.flatMap((/** @type {any} */ step) => step.events) }));

test("a replay knows every moment, forwards and backwards, and ends as the match did", () => {
  for (const { rules, events } of matches) {
    const timeline = new Timeline(initial(rules), events);
    assert.ok(timeline.moments.every((at, index) => index === 0 || at >= timeline.moments[index - 1]));
    let state = initial(rules);
    for (const [index, event] of events.entries()) {
      state = apply(state, event);
      assert.ok(timeline.moments[index] <= event.t, "an event is shown by the time it happened");
      const count = timeline.count(timeline.moments[index]);
      assert.ok(count > index);
      assert.deepEqual(timeline.states[index + 1], state);
    }
    assert.equal(timeline.count(-1), 0);
    assert.equal(timeline.states[timeline.count(timeline.duration)].phase, "over");
  }
});

test("rallies begin with their countdown, carry their score, and follow each other", () => {
  for (const { rules, events } of matches) {
    const timeline = new Timeline(initial(rules), events);
    const { rallies } = timeline;
    const points = events.filter((/** @type {any} */ event) => event.k === "point");
    assert.deepEqual(rallies.slice(0, points.length).map((rally) => rally.score), points.map((/** @type {any} */ event) => event.score));
    rallies.forEach((rally, index) => {
      const state = timeline.states[timeline.count(rally.at)];
      assert.ok(rally.at < rally.end);
      assert.equal(timeline.rallyAt(rally.at), index);
      assert.deepEqual(state.score, index === 0 ? [0, 0] : rallies[index - 1].score, "seeking there shows the score before");
      assert.ok(index === 0 || rally.at >= rallies[index - 1].end);
    });
  }
});

test("a match without events has nothing to show, and says so", () => {
  const timeline = new Timeline(initial(), []);
  assert.deepEqual([timeline.duration, timeline.count(5), timeline.rallyAt(5), timeline.rallies], [0, 0, 0, []]);
});
