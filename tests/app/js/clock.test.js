// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { Clock, median } from "../../../app/static/js/clock.js";

/** A local clock that is turned by hand, and a server whose match time is `ahead` ms ahead of it. */
function world({ ahead = 5000 } = {}) {
  const time = { local: 1000, ahead };
  const clock = new Clock(() => time.local);
  return {
    time,
    clock,
    /** One probe: `out` ms to the server, `back` ms home. */
    probe(/** @type {number} */ out, /** @type {number} */ back) {
      const sent = time.local;
      const server = (sent + out + time.ahead) * 1000;
      time.local += out + back;
      clock.sample(sent, server);
    },
    /** How far the clock is off, in ms. */
    error: () => clock.now() / 1000 - (time.local + time.ahead),
  };
}

test("a symmetric probe gives the exact match time", () => {
  const { clock, probe, error } = world();
  probe(20, 20);
  assert.ok(Math.abs(error()) < 0.01);
  assert.equal(clock.rtt, 40);
});

test("the sample with the shortest round trip is believed", () => {
  const { probe, error } = world();
  probe(90, 10);
  probe(10, 10);
  probe(20, 120);
  assert.ok(Math.abs(error()) < 0.01);
});

test("the clock settles after six answers and then only slews", () => {
  const { time, clock, probe, error } = world();
  for (let i = 0; i < 6; i += 1) {
    probe(15, 15);
  }
  assert.ok(clock.settled);
  time.ahead += 40; // the server's clock is 40 ms off all of a sudden
  clock.restart();
  for (let i = 0; i < 16; i += 1) {
    clock.samples.push({ rtt: 30, offset: time.ahead, lag: 0 });
  }
  clock.goal = time.ahead;
  const before = error();
  time.local += 1000;
  const after = error();
  assert.ok(after - before > 4.9 && after - before <= 5.01, `moved by ${after - before} ms in a second`);
});

test("an error beyond 80 ms is a step", () => {
  const { time, probe, error } = world();
  for (let i = 0; i < 6; i += 1) {
    probe(10, 10);
  }
  time.ahead += 500;
  for (let i = 0; i < 20; i += 1) {
    probe(9, 9);
  }
  assert.ok(Math.abs(error()) < 0.01);
});

test("time never runs backwards while it slews", () => {
  const { time, clock, probe } = world();
  for (let i = 0; i < 6; i += 1) {
    probe(10, 10);
  }
  clock.goal -= 60;
  let last = clock.now();
  for (let i = 0; i < 500; i += 1) {
    time.local += 4;
    const now = clock.now();
    assert.ok(now > last);
    last = now;
  }
});

test("the first guess gives way to the first probe, and not the other way round", () => {
  const { clock, probe, error } = world();
  clock.seed(9_000_000);
  assert.equal(clock.now(), 9_000_000);
  probe(5, 5);
  clock.seed(1);
  assert.ok(Math.abs(error()) < 0.01);
});

test("match time is whole microseconds", () => {
  const { time, clock, probe } = world({ ahead: 0.123456 });
  probe(3, 3);
  time.local += 0.777;
  assert.ok(Number.isInteger(clock.now()));
});

test("median", () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 2, 3]), 2.5);
});

test("the server's own delay is the worst of the last probes", () => {
  const { clock } = world();
  assert.equal(clock.lag, 0);
  clock.sample(clock.local(), 0);
  assert.equal(clock.lag, 0, "a server of an earlier release does not say");
  clock.sample(clock.local(), 0, 70);
  clock.sample(clock.local(), 0, 3);
  assert.equal(clock.lag, 70);
  for (let i = 0; i < 16; i += 1) {
    clock.sample(clock.local(), 0, 1);
  }
  assert.equal(clock.lag, 1);
});
