// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { PollSocket } from "../../../app/static/js/poll.js";

/** A server and its network, turned by hand: requests wait until a test answers them. */
class Line {
  constructor() {
    this.time = 0;
    /** @type {{id: number, at: number, call: () => void}[]} */
    this.timers = [];
    /** @type {any[]} */
    this.requests = [];
    /** @type {any[]} */
    this.heard = [];
    /** @type {number[]} */
    this.closed = [];
    this.leave = () => {};
    this.socket = new PollSocket("/ws/w/match/m", {
      fetch: (url, options) =>
        new Promise((resolve, reject) => {
          const body = JSON.parse(String(options.body));
          const request = {
            url,
            body,
            keepalive: options.keepalive === true,
            isOpen: true,
            /** @param {any} answer */
            answer: (answer, status = 200) => {
              request.isOpen = false;
              resolve(/** @type {any} */ ({ ok: status === 200, status, json: async () => answer }));
            },
            fail: () => {
              request.isOpen = false;
              reject(new TypeError("network"));
            },
          };
          options.signal?.addEventListener("abort", request.fail);
          this.requests.push(request);
        }),
      now: () => this.time,
      after: (call, ms) => {
        this.timers.push({ id: this.timers.length + 1, at: this.time + ms, call });
        return this.timers.length;
      },
      cancel: (id) => (this.timers[id - 1].at = Infinity),
      leaving: (call) => {
        this.leave = call;
        return () => (this.leave = () => {});
      },
    });
    this.socket.onmessage = (event) => this.heard.push(JSON.parse(event.data).n);
    this.socket.onclose = (event) => this.closed.push(event.code);
  }

  /** Requests that wait for an answer. */
  get open() {
    return this.requests.filter((request) => request.isOpen);
  }

  get last() {
    return this.requests[this.requests.length - 1];
  }

  async settle() {
    for (let i = 0; i < 20; i += 1) {
      await Promise.resolve();
    }
  }

  /** @param {number} ms */
  async pass(ms) {
    await this.settle();
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
    await this.settle();
  }

  /** @param {number} n */
  say(n) {
    this.socket.send(JSON.stringify({ n }));
  }

  /** With a session, and its first request held. */
  async opened() {
    this.socket.onopen = () => this.say(0);
    await this.pass(0);
    this.last.answer({ session: "s", at: 0, messages: [{ n: 100 }] });
    await this.pass(1000);
    return this;
  }
}

test("the first message opens a session, and then one request is always held", async () => {
  const line = new Line();
  line.socket.onopen = () => line.say(0);
  await line.pass(0);
  assert.equal(line.last.url, "/ws/w/match/m/poll");
  assert.deepEqual(line.last.body, { session: "", ack: 0, at: 0, wait: true, messages: [{ n: 0 }] });
  line.say(1); // waits for the session
  line.last.answer({ session: "s", at: 0, messages: [{ n: 100 }, { n: 101 }] });
  await line.pass(40);
  assert.deepEqual(line.heard, [100, 101]);
  const [held, said] = line.requests.slice(1).map((request) => request.body);
  assert.deepEqual(held, { session: "s", ack: 2, wait: true, messages: [] });
  assert.deepEqual(said, { session: "s", ack: 2, at: 1, wait: false, messages: [{ n: 1 }] });
});

test("messages of the same moment go together, requests are paced, and few are on their way at a time", async () => {
  const line = await new Line().opened();
  for (let n = 1; n <= 20; n += 1) {
    line.say(n);
    await line.pass(10);
  }
  await line.pass(500);
  const said = line.open.filter((request) => !request.body.wait);
  assert.equal(said.length, 3);
  said[0].answer({ session: "s", at: 1, messages: [] });
  await line.pass(100);
  const all = line.requests.filter((request) => !request.body.wait).map((request) => request.body);
  assert.deepEqual(all.flatMap((body) => body.messages.map((/** @type {any} */ message) => message.n)), [...Array(21).keys()].slice(1, all.at(-1).at + all.at(-1).messages.length));
  assert.ok(all.at(-1).messages.length > 4);
});

test("what comes by two answers is heard once, in order", async () => {
  const line = await new Line().opened();
  const [held] = line.open;
  line.say(1);
  await line.pass(0);
  line.last.answer({ session: "s", at: 1, messages: [{ n: 101 }, { n: 102 }] });
  await line.settle();
  held.answer({ session: "s", at: 1, messages: [{ n: 101 }, { n: 102 }, { n: 103 }] });
  await line.settle();
  assert.deepEqual(line.heard, [100, 101, 102, 103]);
  assert.equal(line.last.body.ack, 4);
});

test("a request that is lost or cut on the way is asked again, with the same numbers", async () => {
  const line = await new Line().opened();
  line.say(1);
  await line.pass(0);
  const said = line.last;
  line.open[0].answer({}, 504); // the held one: a proxy had enough of it
  said.fail();
  await line.pass(300);
  const again = line.open.map((request) => request.body);
  assert.deepEqual(again, [{ session: "s", ack: 1, wait: true, messages: [] }, said.body]);
  line.open[1].answer({ session: "s", at: 1, messages: [] });
  await line.pass(300);
  assert.deepEqual(line.closed, []);
});

test("a held request that nobody answers is let go", async () => {
  const line = await new Line().opened();
  const [held] = line.open;
  await line.pass(26000);
  assert.equal(held.isOpen, false);
  assert.equal(line.open.length, 1);
});

test("failures in a row end it as a lost connection, and so does the first one of all", async () => {
  const line = await new Line().opened();
  for (let i = 0; i < 4; i += 1) {
    line.open[0].fail();
    await line.pass(300);
  }
  assert.deepEqual(line.closed, [1006]);
  assert.equal(line.open.length, 0);

  const never = new Line();
  never.socket.onopen = () => never.say(0);
  await never.pass(0);
  never.last.answer({}, 502);
  await never.settle();
  assert.deepEqual(never.closed, [1006]);
});

test("close codes come with the last messages, and refusals are close codes", async () => {
  const line = await new Line().opened();
  line.open[0].answer({ session: "s", at: 1, messages: [{ n: 101 }], close: 4409 });
  await line.settle();
  assert.deepEqual([line.heard, line.closed], [[100, 101], [4409]]);
  assert.equal(line.open.length, 0);

  for (const [status, code] of [[404, 1006], [413, 1009], [429, 4429], [403, 4403], [400, 4400]]) {
    const refused = await new Line().opened();
    refused.open[0].answer({}, status);
    await refused.settle();
    assert.deepEqual(refused.closed, [code]);
  }
});

test("whoever leaves the page says so, and what was on its way goes with it", async () => {
  const line = await new Line().opened();
  line.say(1);
  await line.pass(0);
  line.say(2);
  line.leave();
  await line.settle();
  assert.deepEqual(line.last.body, { session: "s", ack: 1, at: 1, bye: true, messages: [{ n: 1 }, { n: 2 }] });
  assert.equal(line.last.keepalive, true);
  assert.deepEqual(line.open, [line.last]);
  line.say(3);
  await line.pass(1000);
  assert.deepEqual(line.closed, []); // as with a WebSocket: whoever closes is told nothing more
  assert.equal(line.requests.filter((request) => request.body.bye).length, 1);
});
