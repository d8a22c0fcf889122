// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { Attract } from "../../../app/static/js/attract.js";
import { Statistics } from "../../../app/static/js/statistics.js";

test("the end card's numbers come from the timeline", () => {
  const statistics = new Statistics();
  statistics.add({ k: "serve", v: 1, t: 2_000_000, x: 500, y: 300, vx: 560, vy: 0 });
  statistics.add({ k: "hit", v: 2, t: 2_900_000, side: 1, n: 1, x: 1000, y: 300, vx: -588, vy: 300 });
  statistics.add({ k: "hit", v: 3, t: 4_600_000, side: 0, n: 2, x: 0, y: 300, vx: 617.4, vy: 0 });
  statistics.add({ k: "point", v: 4, t: 6_000_000, side: 0, score: [1, 0] });
  statistics.add({ k: "end", v: 5, t: 6_000_000, winner: 0, reason: "score", score: [1, 0] });
  assert.equal(statistics.longest, 2);
  assert.equal(statistics.seconds, 4);
  assert.equal(statistics.fastest, Math.round(Math.hypot(588, 300) * 0.02377 * 3.6));
});

test("the rally of the landing page keeps the rules, and never stops", () => {
  let seed = 1;
  const match = new Attract(() => (seed = (seed * 16807) % 2147483647) / 2147483647);
  let rallies = 0;
  let longest = 0;
  let score = 0;
  for (let now = 0; now < 180_000_000; now += 50_000) {
    const state = match.at(now);
    longest = Math.max(longest, state.rally_hits);
    if (state.score[0] + state.score[1] !== score) {
      score = state.score[0] + state.score[1];
      rallies += 1;
    }
  }
  assert.ok(rallies > 5 && longest >= 4, `${rallies} rallies, the longest of ${longest} hits`);
});
