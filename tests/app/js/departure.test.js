// @ts-check
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { ApiError } from "../../../app/static/js/api.js";
import { forgetLeft, hasLeft, rememberLeft, tellLeft } from "../../../app/static/js/departure.js";
import { Ways } from "../../../app/static/js/ways.js";

/** @type {Map<string, string>} */
const kept = new Map();
Object.defineProperty(globalThis, "localStorage", {
  configurable: true,
  value: {
    getItem: (/** @type {string} */ key) => kept.get(key) ?? null,
    setItem: (/** @type {string} */ key, /** @type {string} */ value) => kept.set(key, value),
    removeItem: (/** @type {string} */ key) => kept.delete(key),
  },
});
beforeEach(() => kept.clear());

/** Where the page that comes next is: `seats` and `sockets` are what it asks for and opens. */
class Next {
  /** @param {(Error | null)[]} seats what the next ones answer; null or nothing: a seat */
  constructor(...seats) {
    /** @type {any[]} */
    this.sockets = [];
    /** @type {(() => void)[]} */
    this.timers = [];
    this.tells = tellLeft(null, {
      seat: async () => {
        const answer = seats.shift() ?? null;
        if (answer !== null) {
          throw answer;
        }
        return { url: "/ws/w/match/m", token: "t", side: 0, worker: "w" };
      },
      ways: new Ways(null),
      open: (_, way) => {
        const socket = { way, said: /** @type {string[]} */ ([]), close: () => {}, send: (/** @type {string} */ text) => socket.said.push(JSON.parse(text).t) };
        this.sockets.push(socket);
        return /** @type {any} */ (socket);
      },
      now: () => 0,
      after: (call) => this.timers.push(call),
      cancel: () => {},
      random: () => 0.5,
    });
  }

  async settle() {
    await new Promise((resolve) => setImmediate(resolve));
  }

  /** @param {number | null} side */
  welcome(side = 0) {
    const socket = this.sockets[this.sockets.length - 1];
    socket.onopen();
    socket.onmessage({ data: JSON.stringify({ t: "welcome", now: 0, side }) });
    return socket;
  }
}

test("who gave up without a connection has given up when there is one", async () => {
  rememberLeft("m");
  const next = new Next(new ApiError(0, "offline"));
  await next.settle();
  assert.equal(next.sockets.length, 0);
  assert.equal(hasLeft("m"), true);
  next.timers[next.timers.length - 1]();
  await next.settle();
  const socket = next.welcome();
  assert.deepEqual(socket.said.filter((/** @type {string} */ t) => t !== "ping"), ["hello", "leave"]);
  assert.equal(hasLeft("m"), true, "sent is not heard");
  socket.onclose({ code: 1000 });
  assert.equal(hasLeft("m"), false);
});

test("a leave that is lost on its way is said again, by the other way if need be", async () => {
  rememberLeft("m");
  const next = new Next();
  await next.settle();
  next.sockets[0].onclose({ code: 1006 });
  next.timers[next.timers.length - 1]();
  await next.settle();
  assert.deepEqual(next.sockets.map(({ way }) => way), ["socket", "poll"]);
  next.welcome().onclose({ code: 1012 });
  assert.equal(hasLeft("m"), true);
  next.timers[next.timers.length - 1]();
  await next.settle();
  const socket = next.welcome();
  assert.ok(socket.said.includes("leave"));
  socket.onclose({ code: 1000 });
  assert.equal(hasLeft("m"), false);
});

test("a match that is over, or not ours any more, is forgotten", async () => {
  for (const status of [403, 404, 409]) {
    rememberLeft("m");
    const next = new Next(new ApiError(status, "no"));
    await next.settle();
    assert.deepEqual([next.sockets.length, hasLeft("m")], [0, false], String(status));
  }
  rememberLeft("m");
  const next = new Next();
  await next.settle();
  assert.equal(next.welcome(null).said.includes("leave"), false);
  assert.equal(hasLeft("m"), false, "somebody else is logged in");
});

test("what is kept is bounded, dated and may be damaged", async () => {
  for (let i = 0; i < 20; i += 1) {
    rememberLeft(`m${i}`);
  }
  assert.deepEqual([hasLeft("m0"), hasLeft("m19")], [false, true]);
  assert.equal(JSON.parse(kept.get("matchpoint.left") ?? "").length, 8);
  forgetLeft("m19");
  assert.equal(hasLeft("m19"), false);
  for (const text of ["{", "[null]", "[1]", "{}", '[{"id":"m","until":1}]', '[{"id":"m","until":9e99}]']) {
    kept.set("matchpoint.left", text);
    assert.equal(hasLeft("m"), false, text);
    assert.deepEqual(new Next().tells, [], text);
  }
});

test("the match of this page is left to its own socket", () => {
  rememberLeft("m");
  assert.deepEqual(tellLeft("m"), []);
});
