import assert from "node:assert/strict";
import { test } from "node:test";

import { comesBack, Lobby } from "../../../app/static/js/lobby.js";
import { Ways } from "../../../app/static/js/ways.js";

/** A browser with sockets that the test opens, and timers that it runs. */
class Surroundings {
  constructor() {
    /** @type {any[]} */
    this.sockets = [];
    /** @type {Map<number, {call: () => void, ms: number}>} */
    this.timers = new Map();
    this.lastTimer = 0;
    this.fails = false;
    /** @type {any[]} */
    this.heard = [];
    this.lobby = new Lobby(
      Object.fromEntries(["site", "you", "met", "off"].map((name) => [name, (/** @type {any} */ message) => this.heard.push(message)])),
      {
        token: async () => {
          if (this.fails) {
            throw new Error("no network");
          }
          return { url: "/ws/lobby", token: "t" };
        },
        open: (_, way) => this.open(way),
        ways: new Ways(null),
        after: (call, ms) => {
          const id = (this.lastTimer += 1);
          this.timers.set(id, { call, ms });
          return id;
        },
        cancel: (id) => this.timers.delete(id),
        random: () => 0.5,
      },
    );
  }

  /** @param {string} way */
  open(way) {
    /** @type {any} */
    const socket = { sent: [], isClosed: false, way };
    socket.send = (/** @type {string} */ text) => socket.sent.push(JSON.parse(text));
    socket.close = () => (socket.isClosed = true);
    this.sockets.push(socket);
    return socket;
  }

  get socket() {
    return this.sockets[this.sockets.length - 1];
  }

  async welcome() {
    await settle();
    this.socket.onopen();
    this.say({ t: "welcome", protocol: 1, name: "Ada" });
  }

  /** @param {object} message */
  say(message) {
    this.socket.onmessage({ data: JSON.stringify(message) });
  }

  /** The kinds of what was sent by the newest socket. */
  get sent() {
    return this.socket.sent.map((/** @type {{t: string}} */ { t }) => t);
  }

  /** Run the timer that is set; how long it was. */
  async tick() {
    const [id, { call, ms }] = [...this.timers][this.timers.size - 1];
    this.timers.delete(id);
    call();
    await settle();
    return ms;
  }
}

const settle = () => new Promise((resolve) => setImmediate(resolve));

test("a page says hello, waits when it is let in, and speaks every two seconds", async () => {
  const page = new Surroundings();
  page.lobby.start();
  page.lobby.wait();
  await page.welcome();
  assert.deepEqual(page.socket.sent, [{ t: "hello", protocol: 1, token: "t" }, { t: "wait" }]);
  assert.equal(await page.tick(), 2000);
  assert.deepEqual(page.socket.sent.at(-1), { t: "here" });
});

test("a page that only looks on speaks twice a minute", async () => {
  const page = new Surroundings();
  page.lobby.start();
  await page.welcome();
  assert.equal(await page.tick(), 25000);
});

test("after a lost connection it waits again, and not after it has cancelled", async () => {
  const page = new Surroundings();
  page.lobby.start();
  page.lobby.wait();
  await page.welcome();
  page.socket.onclose({ code: 1012 });
  assert.equal(page.heard.at(-1).courts, "away");
  await page.tick();
  await page.welcome();
  assert.equal(page.sockets.length, 2);
  assert.deepEqual(page.socket.sent.at(-1), { t: "wait" });
  page.lobby.cancel();
  assert.deepEqual(page.socket.sent.at(-1), { t: "cancel" });
  page.socket.onclose({ code: 1006 });
  await page.tick();
  await page.welcome();
  assert.deepEqual(page.sent, ["hello"]);
});

test("pages that only look on come back one by one", async () => {
  const page = new Surroundings();
  const waits = [];
  for (const random of [0, 0.5, 0.99]) {
    page.lobby.host.random = () => random;
    page.lobby.start();
    await page.welcome();
    page.socket.onclose({ code: 1012 });
    waits.push(await page.tick());
  }
  assert.ok(waits[0] >= 4000 && waits[2] - waits[0] > 7000, String(waits));
});

test("whom it met is confirmed at once", async () => {
  const page = new Surroundings();
  page.lobby.start();
  page.lobby.wait();
  await page.welcome();
  page.say({ t: "met", match: "abc", name: "Bob", rating: null, rated: false, in_ms: 3000 });
  assert.deepEqual(page.socket.sent.at(-1), { t: "coming", match: "abc" });
  page.say({ t: "off", match: "abc" });
  page.say({ t: "news of a later release" });
  assert.deepEqual(page.heard.map(({ t }) => t), ["met", "off"]);
});

test("a server that does not answer is left for another", async () => {
  const page = new Surroundings();
  page.lobby.start();
  page.lobby.wait();
  await page.welcome();
  const first = page.socket;
  await page.tick();
  await page.tick();
  page.say({ t: "here" });
  for (let n = 0; n < 3; n += 1) {
    await page.tick();
  }
  assert.equal(first.isClosed, false, "three may be on their way");
  await page.tick();
  assert.equal(first.isClosed, true);
  await page.tick();
  await page.welcome();
  assert.equal(page.sockets.length, 2);
});

test("without a network it tries again, later and later", async () => {
  const page = new Surroundings();
  page.fails = true;
  page.lobby.wait();
  page.lobby.start();
  await settle();
  /** @type {number[]} */
  const waits = [];
  for (let n = 0; n < 4; n += 1) {
    waits.push(await page.tick());
  }
  assert.ok(waits.every((wait, n) => n === 0 || wait >= waits[n - 1]));
  page.fails = false;
  await page.tick();
  await page.welcome();
  assert.deepEqual(page.socket.sent.at(-1), { t: "wait" });
});

test("where no WebSocket gets through requests carry it, and a match is left to find out by itself", async () => {
  for (const blocked of [(/** @type {Surroundings} */ page) => page.socket.onclose({ code: 1006 }), (/** @type {Surroundings} */ page) => page.tick()]) {
    const page = new Surroundings();
    page.lobby.start();
    page.lobby.wait();
    await settle();
    await blocked(page); // refused, or no answer in 2 s
    await page.tick();
    await page.welcome();
    assert.deepEqual(page.sockets.map(({ way }) => way), ["socket", "poll"]);
    assert.deepEqual(page.sent, ["hello", "wait"]);
    page.socket.onclose({ code: 1012 });
    await page.tick();
    await page.welcome();
    assert.equal(page.socket.way, "poll", "it did work");
  }
});

test("a socket that did work is tried again before requests are", async () => {
  const page = new Surroundings();
  page.lobby.start();
  page.lobby.wait();
  await page.welcome();
  for (let n = 0; n < 3; n += 1) {
    page.socket.onclose({ code: 1006 });
    await page.tick();
  }
  assert.deepEqual(page.sockets.map(({ way }) => way), ["socket", "socket", "socket", "poll"]);
});

test("what cannot get better ends it; a logout gets one more try", async () => {
  const ends = [1000, 1001, 1006, 1009, 1012, 4400, 4401, 4403, 4404, 4408, 4426, 4429].filter((code) => !comesBack(code));
  assert.deepEqual(ends, [1000, 1009, 4400, 4403, 4404, 4426]);
  const page = new Surroundings();
  page.lobby.start();
  await settle();
  page.socket.onclose({ code: 4401 });
  await page.tick();
  page.socket.onclose({ code: 4401 });
  assert.equal(page.timers.size, 0);
});

test("a player who waits in another window does not wait here when the connection comes back", async () => {
  const page = new Surroundings();
  page.lobby.start();
  page.lobby.wait();
  await page.welcome();
  page.say({ t: "you", state: "elsewhere", waited_ms: 0 });
  page.socket.onclose({ code: 1006 });
  await page.tick();
  await page.welcome();
  assert.deepEqual(page.sent, ["hello"]);
});
