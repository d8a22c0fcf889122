// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { ApiError } from "../../../app/static/js/api.js";
import { Clock } from "../../../app/static/js/clock.js";
import { backoff, closePolicy, MatchSocket } from "../../../app/static/js/socket.js";
import { Ways } from "../../../app/static/js/ways.js";

/** A browser's worth of surroundings: time, timers, sockets and seats, all turned by hand. */
class World {
  /** @param {Ways} ways */
  constructor(ways = new Ways(null)) {
    this.time = 0;
    /** @type {{id: number, at: number, call: () => void}[]} */
    this.timers = [];
    /** @type {any[]} */
    this.sockets = [];
    /** @type {(Error | null)[]} what the next seats answer; null or nothing: a seat */
    this.seats = [];
    this.seatsAsked = 0;
    /** @type {any[]} */
    this.messages = [];
    /** @type {string[]} */
    this.statuses = [];
    this.version = 0;
    this.clock = new Clock(() => this.time);
    this.match = new MatchSocket(
      this.clock,
      {
        version: () => this.version,
        message: (message) => this.messages.push(message),
        status: (status, reason) => this.statuses.push(reason === null ? status : `${status}: ${reason}`),
      },
      {
        seat: async () => {
          this.seatsAsked += 1;
          const answer = this.seats.shift() ?? null;
          if (answer !== null) {
            throw answer;
          }
          return { url: `/ws/local-8101/match/m${this.seatsAsked}`, token: `token ${this.seatsAsked}`, side: 0, worker: "local-8101" };
        },
        ways,
        open: (path, way) => {
          const socket = { path, way, sent: /** @type {any[]} */ ([]), closed: false, send: (/** @type {string} */ text) => socket.sent.push(JSON.parse(text)), close: () => (socket.closed = true) };
          this.sockets.push(socket);
          return /** @type {any} */ (socket);
        },
        now: () => this.time,
        after: (call, ms) => {
          const id = this.timers.length + 1;
          this.timers.push({ id, at: this.time + ms, call });
          return id;
        },
        cancel: (id) => {
          this.timers = this.timers.map((timer) => (timer.id === id ? { ...timer, at: Infinity } : timer));
        },
        random: () => 0.5,
      },
    );
  }

  get socket() {
    return this.sockets[this.sockets.length - 1];
  }

  /** Let promises settle. */
  async settle() {
    for (let i = 0; i < 5; i += 1) {
      await Promise.resolve();
    }
  }

  /** @param {number} ms */
  async pass(ms) {
    const end = this.time + ms;
    for (;;) {
      const next = this.timers.filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) {
        break;
      }
      this.time = Math.max(this.time, next.at);
      next.at = Infinity;
      next.call();
      await this.settle();
    }
    this.time = end;
  }

  /** @param {object} message */
  hear(message) {
    this.socket.onmessage({ data: JSON.stringify(message) });
  }

  /** Take a seat, connect and be welcomed. */
  async join() {
    this.match.start();
    await this.settle();
    await this.welcome();
  }

  async welcome() {
    this.socket.onopen();
    this.hear({ t: "welcome", now: 0, side: 0 });
    await this.settle();
  }

  /** @param {number} code */
  async close(code) {
    this.socket.onclose({ code });
    await this.settle();
  }
}

test("the first message is hello, with the token of the seat and the version that we hold", async () => {
  const world = new World();
  world.version = 41;
  await world.join();
  assert.deepEqual(world.socket.sent[0], { t: "hello", protocol: 3, token: "token 1", version: 41, owner: "" });
  assert.equal(world.socket.path, "/ws/local-8101/match/m1");
  assert.deepEqual(world.statuses, ["live"]);
});

test("six probes go out in the first second, then one a second", async () => {
  const world = new World();
  await world.join();
  const pings = () => world.socket.sent.filter((/** @type {any} */ message) => message.t === "ping").length;
  await world.pass(700);
  assert.equal(pings(), 6);
  await world.pass(1000);
  assert.equal(pings(), 7);
});

test("a pong sets the clock and is nobody else's business", async () => {
  const world = new World();
  await world.join();
  world.time = 50;
  world.hear({ t: "pong", c: 10, s: 3_000_000 });
  assert.equal(world.clock.rtt, 40);
  assert.deepEqual(world.messages.map((message) => message.t), ["welcome"]);
});

for (const code of [1001, 1006, 1012, 4404, 4408]) {
  test(`after a close with ${code} it asks for another seat and resumes`, async () => {
    const world = new World();
    await world.join();
    world.version = 17;
    world.hear({ t: "welcome", now: 0, side: 0, owner: "o1" });
    await world.close(code);
    assert.equal(world.match.status, "reconnecting");
    await world.pass(400);
    assert.equal(world.seatsAsked, 2);
    await world.welcome();
    assert.equal(world.socket.sent[0].version, 17);
    assert.equal(world.socket.sent[0].owner, "o1");
    assert.equal(world.match.status, "live");
  });
}

for (const [code, reason] of /** @type {const} */ ([[1000, "over"], [1009, "broken"], [4400, "broken"], [4403, "refused"], [4409, "replaced"]])) {
  test(`a close with ${code} is final: ${reason}`, async () => {
    const world = new World();
    await world.join();
    await world.close(code);
    await world.pass(60_000);
    assert.equal(world.statuses.at(-1), `stopped: ${reason}`);
    assert.equal(world.seatsAsked, 1);
  });
}

test("a worker of an earlier release is spoken to in its protocol; one of a later release ends it", async () => {
  const world = new World();
  await world.join();
  await world.close(4426);
  await world.welcome();
  assert.equal(world.socket.sent[0].protocol, 2);
  await world.close(4426);
  await world.welcome();
  assert.equal(world.socket.sent[0].protocol, 1);
  await world.close(4426);
  await world.pass(60_000);
  assert.equal(world.statuses.at(-1), "stopped: reload");
  assert.equal(world.seatsAsked, 3);
});

test("a refused token gets one more seat, not endless ones", async () => {
  const world = new World();
  await world.join();
  await world.close(4401);
  assert.equal(world.seatsAsked, 2);
  await world.close(4401);
  assert.equal(world.statuses.at(-1), "stopped: refused");
});

test("a flood is answered with patience", async () => {
  const world = new World();
  await world.join();
  await world.close(4429);
  await world.pass(2900);
  assert.equal(world.seatsAsked, 1);
  await world.pass(200);
  assert.equal(world.seatsAsked, 2);
});

test("the first try comes within 0.3 s, the next ones from a quarter of a second to three, spread by 30 %", () => {
  assert.deepEqual([0, 0.5, 1].map((random) => backoff(0, random)), [0, 150, 300]);
  const waits = [1, 2, 3, 4, 5, 6, 7, 20].map((tries) => backoff(tries, 0.5));
  assert.deepEqual(waits, [250, 500, 1000, 1000, 1000, 2000, 3000, 3000]);
  assert.equal(backoff(3, 0), 700);
  assert.equal(Math.round(backoff(3, 1)), 1300);
});

test("no free worker is told as such, and tried again", async () => {
  const world = new World();
  world.seats = [new ApiError(503, "no-worker"), new ApiError(429, "too-many"), null];
  world.match.start();
  await world.settle();
  assert.equal(world.match.status, "busy");
  await world.pass(1000);
  assert.equal(world.seatsAsked, 3);
});

for (const [status, reason] of /** @type {const} */ ([[404, "missing"], [409, "over"], [403, "refused"]])) {
  test(`a seat that answers ${status} stops: ${reason}`, async () => {
    const world = new World();
    world.seats = [new ApiError(status, "")];
    world.match.start();
    await world.settle();
    assert.equal(world.statuses.at(-1), `stopped: ${reason}`);
  });
}

test("the network coming back ends the wait at once", async () => {
  const world = new World();
  world.seats = Array.from({ length: 12 }, () => new ApiError(0, "offline"));
  world.match.start();
  await world.settle();
  await world.pass(9000);
  const before = world.seatsAsked;
  world.seats = [];
  world.match.wake();
  await world.settle();
  assert.equal(world.seatsAsked, before + 1);
});

test("two seconds of silence are told, six end the connection", async () => {
  const world = new World();
  await world.join();
  await world.pass(2600);
  assert.equal(world.match.status, "unstable");
  world.hear({ t: "pong", c: 0, s: 0 });
  assert.equal(world.match.status, "live");
  const first = world.socket;
  await world.pass(7500);
  assert.ok(first.closed);
  assert.ok(world.seatsAsked >= 2);
});

test("a hand-over asks for a seat at once and is no lost connection", async () => {
  const world = new World();
  await world.join();
  const first = world.socket;
  world.hear({ t: "move" });
  await world.settle();
  assert.equal(world.seatsAsked, 2);
  assert.ok(first.closed);
  assert.deepEqual(world.statuses, ["live", "moving"]);
  first.onclose({ code: 1012 });
  await world.settle();
  assert.equal(world.seatsAsked, 2, "the old socket has no say any more");
});

test("nothing is sent without a connection", async () => {
  const world = new World();
  assert.equal(world.match.send({ t: "leave" }), false);
  await world.join();
  assert.equal(world.match.send({ t: "leave" }), true);
  await world.close(1006);
  assert.equal(world.match.send({ t: "leave" }), false);
});

test("every code of the protocol has an answer", () => {
  for (const code of [1000, 1001, 1006, 1009, 1012, 4400, 4401, 4403, 4404, 4408, 4409, 4426, 4429]) {
    assert.ok(["seat", "seat once", "stop"].includes(closePolicy(code).do));
  }
});

/** @param {Record<string, string>} kept */
function memory(kept = {}) {
  return { getItem: (/** @type {string} */ key) => kept[key] ?? null, setItem: (/** @type {string} */ key, /** @type {string} */ value) => (kept[key] = value) };
}

test("where the network refuses WebSockets, requests carry the match at once, and are remembered", async () => {
  /** @type {Record<string, string>} */
  const kept = {};
  const world = new World(new Ways(memory(kept)));
  world.match.start();
  await world.settle();
  await world.close(1006); // what a browser says of a handshake that failed
  await world.pass(300);
  assert.deepEqual(world.sockets.map((socket) => socket.way), ["socket", "poll"]);
  await world.welcome();
  assert.equal(world.match.status, "live");
  assert.equal(new World(new Ways(memory(kept))).match.way, "poll");
});

test("where the network swallows them, requests carry it within 3 s, whether it opens or not", async () => {
  for (const opens of [false, true]) {
    const world = new World();
    world.match.start();
    await world.settle();
    if (opens) {
      world.socket.onopen();
    }
    await world.pass(2999);
    assert.deepEqual(world.sockets.map((socket) => socket.way), ["socket", "poll"]);
    await world.welcome();
    assert.equal(world.match.status, "live");
    await world.pass(2500); // the trial of a way that works is over
    assert.equal(world.sockets.length, 2);
  }
});

test("a way that worked is not given up for one worker that died, and for one that stays away it is", async () => {
  const world = new World();
  await world.join();
  await world.close(1006);
  for (let i = 0; i < 3; i += 1) {
    await world.pass(700);
    await world.close(1006);
  }
  assert.deepEqual(world.sockets.map((socket) => socket.way), ["socket", "socket", "socket", "poll"]);
  await world.pass(1500);
  assert.equal(world.socket.way, "socket"); // requests do not get through either
});

test("a refusal by the server is no fault of the way", async () => {
  const world = new World();
  world.match.start();
  await world.settle();
  await world.close(4404);
  await world.pass(300);
  assert.deepEqual(world.sockets.map((socket) => socket.way), ["socket", "socket"]);
});
