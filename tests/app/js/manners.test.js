// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { Absence } from "../../../app/static/js/absence.js";
import { Lateness } from "../../../app/static/js/lateness.js";
import { Tab } from "../../../app/static/js/tab.js";

/** Web Locks as the standard has them, of one name: who holds it, and who waits. */
class Locks {
  constructor() {
    /** @type {{end: () => void, steal: (error: Error) => void} | null} */
    this.holder = null;
    /** @type {(() => void)[]} */
    this.waiting = [];
  }

  /**
   * @param {string} name
   * @param {LockOptions} options
   * @param {(lock: object | null) => Promise<void> | undefined} callback
   * @returns {Promise<void>}
   */
  request(name, options, callback) {
    return new Promise((resolve, reject) => {
      const grant = () => {
        const mine = { end: resolve, steal: reject };
        this.holder = mine;
        callback({ name });
      };
      if (this.holder === null) {
        grant();
      } else if (options.steal) {
        this.holder.steal(new Error("AbortError"));
        grant();
      } else if (options.ifAvailable) {
        resolve(callback(null));
      } else {
        this.waiting.push(grant);
      }
    });
  }

  /** The tab that holds the lock closes. */
  close() {
    this.holder?.end();
    this.holder = null;
    this.waiting.shift()?.();
  }
}

const settle = () => new Promise((resolve) => setTimeout(resolve, 0));

test("a second tab is told that another one plays, and takes over only when it is asked to", async () => {
  const locks = /** @type {any} */ (new Locks());
  /** @type {string[]} */
  const heard = [];
  const first = new Tab("m", () => heard.push("first"), locks);
  const second = new Tab("m", () => heard.push("second"), locks);
  assert.equal(await first.claim(), true);
  assert.equal(await second.claim(), false);
  assert.deepEqual(heard, []);

  await second.takeOver();
  await settle();
  assert.deepEqual(heard, ["first"]);
  assert.deepEqual([first.isHeld, second.isHeld], [false, true]);
});

test("the first tab gets the match back when the second one closes", async () => {
  const locks = new Locks();
  const first = new Tab("m", () => undefined, /** @type {any} */ (locks));
  const second = new Tab("m", () => undefined, /** @type {any} */ (locks));
  await first.claim();
  await second.takeOver();
  let isBack = false;
  void first.wait().then(() => (isBack = true));
  await settle();
  assert.equal(isBack, false);
  locks.close();
  await settle();
  assert.equal(isBack, true);
  assert.equal(first.isHeld, true);
});

test("without locks every tab may play", async () => {
  const tab = new Tab("m", () => assert.fail(), null);
  assert.equal(await tab.claim(), true);
});

test("who waits and who is away see the same seconds, out of what the match has left", () => {
  const here = new Absence();
  const there = new Absence();
  there.told({ side: 1, online: true, grace_ms: 12_000 }, 1000);
  here.told({ side: 1, online: false, grace_ms: 12_000 }, 5000);
  there.cutOff(1, 5000);
  there.cutOff(1, 9000); // still: it counts from the first
  for (const now of [5000, 6500, 16_500, 40_000]) {
    assert.equal(here.left(1, now), there.left(1, now));
  }
  assert.equal(here.left(1, 6500), 11);
  assert.equal(here.left(1, 40_000), 0);
  assert.equal(here.left(0, 6500), null);
  there.back(1);
  assert.equal(there.left(1, 17_000), null);
});

test("a move that counts later than it was made marks the line for a while", () => {
  const lateness = new Lateness();
  lateness.answered(1_000_000, 1_004_000, 100);
  assert.equal(lateness.isLate(101), false);
  lateness.answered(1_000_000, 1_040_000, 100);
  assert.equal(lateness.isLate(3000), true);
  assert.equal(lateness.isLate(3200), false);
});

test("a slow line is told of once, a quick one never", () => {
  const lateness = new Lateness();
  assert.equal(lateness.warns(null), false);
  assert.equal(lateness.warns(200), false);
  assert.equal(lateness.warns(230), true);
  assert.equal(lateness.warns(400), false);
});
