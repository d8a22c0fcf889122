// @ts-check
/**
 * A socket that HTTP requests carry, with the face of a WebSocket (docs/protocol.md, "The second transport"): one request
 * is held by the server until there is something to hear, others say what there is to say and bring back what follows.
 */

const PACE_MS = 40; // between two requests that say something: what comes meanwhile goes together
const LANES = 3; // of those on their way at a time; the server hears them in order
const BATCH = 16;
const RETRY_MS = 250;
const FAILURES = 4; // in a row, of all requests
const TIMEOUT_MS = 25000; // the server holds a request for 20 s

/** Answers without a session behind them, as close codes. All others are failures on the way: tried again. */
const REFUSED = new Map([
  [400, 4400],
  [403, 4403],
  [404, 1006],
  [405, 4400],
  [413, 1009],
  [415, 4400],
  [429, 4429],
]);

/**
 * @typedef {{session: string, at: number, messages: object[], close?: number}} Answer
 *
 * @typedef {object} Host
 * @property {(url: string, options: RequestInit) => Promise<Response>} fetch
 * @property {() => number} now monotonic ms
 * @property {(call: () => void, ms: number) => number} after
 * @property {(timer: number) => void} cancel
 * @property {(call: () => void) => () => void} leaving calls when the page goes; answers with how to call that off
 */

/** @type {Host} */
const BROWSER = {
  fetch: (url, options) => fetch(url, options),
  now: () => performance.now(),
  after: (call, ms) => window.setTimeout(call, ms),
  cancel: (timer) => window.clearTimeout(timer),
  leaving: (call) => {
    addEventListener("pagehide", call);
    return () => removeEventListener("pagehide", call);
  },
};

export class PollSocket {
  /**
   * @param {string} path of the socket
   * @param {Partial<Host>} host
   */
  constructor(path, host = {}) {
    this.url = `${path}/poll`;
    /** @type {Host} */
    this.host = { ...BROWSER, ...host };
    /** @type {(() => void) | null} */
    this.onopen = null;
    /** @type {((event: {data: string}) => void) | null} */
    this.onmessage = null;
    /** @type {((event: {code: number}) => void) | null} */
    this.onclose = null;
    this.session = "";
    this.isOver = false;
    this.heard = 0;
    this.said = 0;
    /** @type {string[]} */
    this.queue = [];
    /** @type {Set<number>} the numbers of the first messages of the batches that are on their way */
    this.flying = new Set();
    /** @type {string[]} the last that were sent: some of them may be on their way */
    this.sent = [];
    this.sentAt = -Infinity;
    this.failures = 0;
    /** @type {number | null} */
    this.pace = null;
    /** @type {Set<AbortController>} */
    this.running = new Set();
    this.stay = this.host.leaving(() => this.close());
    this.host.after(() => this.isOver || this.onopen?.(), 0);
  }

  /** @param {string} text */
  send(text) {
    if (!this.isOver) {
      this.queue.push(text);
      this.#flush();
    }
  }

  /** As with a WebSocket: what was sent goes still, and nothing is heard any more. */
  close() {
    if (this.session !== "" && !this.isOver) {
      const at = Math.min(this.said, ...this.flying); // what is on its way may not survive the page
      const body = this.#body({ at, bye: true }, [...this.sent.slice(this.sent.length - (this.said - at)), ...this.queue]);
      void this.#post(body, { keepalive: true }).catch(() => undefined);
    }
    this.#end();
  }

  #end() {
    this.isOver = true;
    this.stay();
    if (this.pace !== null) {
      this.host.cancel(this.pace);
    }
    for (const request of this.running) {
      request.abort();
    }
  }

  /** @param {number} code */
  #closed(code) {
    if (!this.isOver) {
      this.#end();
      this.onclose?.({ code });
    }
  }

  /** Send what waits, as soon as the pace allows. */
  #flush() {
    const isOpening = this.session === "" && this.flying.size > 0;
    if (this.isOver || this.queue.length === 0 || this.pace !== null || this.flying.size >= LANES || isOpening) {
      return;
    }
    const wait = this.sentAt + PACE_MS - this.host.now();
    if (wait > 0) {
      this.pace = this.host.after(() => {
        this.pace = null;
        this.#flush();
      }, wait);
      return;
    }
    void this.#say(this.queue.splice(0, BATCH));
  }

  /** @param {string[]} messages */
  async #say(messages) {
    const opens = this.session === "";
    const at = this.said;
    this.said += messages.length;
    this.sent = [...this.sent, ...messages].slice(-LANES * BATCH);
    this.sentAt = this.host.now();
    this.flying.add(at);
    const answer = await this.#ask({ at, wait: opens }, messages);
    this.flying.delete(at);
    if (answer === null) {
      return;
    }
    const fresh = this.#fresh(answer);
    if (opens && answer.close === undefined) {
      this.session = answer.session;
      void this.#listen();
    }
    this.#tell(fresh, answer.close);
    this.#flush();
  }

  async #listen() {
    const answer = await this.#ask({ wait: true }, []);
    if (answer === null) {
      return;
    }
    const fresh = this.#fresh(answer);
    if (answer.close === undefined) {
      void this.#listen(); // first, since the server measures how long that takes
    }
    this.#tell(fresh, answer.close);
  }

  /**
   * What we have not heard yet: every answer repeats what the server does not know to have arrived.
   * @param {Answer} answer
   */
  #fresh(answer) {
    const fresh = answer.messages.slice(Math.max(0, this.heard - answer.at));
    this.heard += fresh.length;
    return fresh;
  }

  /**
   * @param {object[]} messages
   * @param {number | undefined} close
   */
  #tell(messages, close) {
    for (const message of messages) {
      if (!this.isOver) {
        this.onmessage?.({ data: JSON.stringify(message) });
      }
    }
    if (close !== undefined) {
      this.#closed(close);
    }
  }

  /**
   * Ask until there is an answer. Doing it twice does no harm: messages are numbered.
   * @param {{at?: number, wait?: boolean}} fields
   * @param {string[]} messages
   * @returns {Promise<Answer | null>} null: it is over
   */
  async #ask(fields, messages) {
    while (!this.isOver) {
      const answer = await this.#once(this.#body(fields, messages));
      if (this.isOver) {
        return null;
      }
      if (typeof answer === "object") {
        this.failures = 0;
        return answer;
      }
      this.failures += 1;
      if (answer > 0 || this.session === "" || this.failures >= FAILURES) {
        this.#closed(answer > 0 ? answer : 1006);
        return null;
      }
      await new Promise((resolve) => this.host.after(() => resolve(null), RETRY_MS));
    }
    return null;
  }

  /**
   * @param {string} body
   * @returns {Promise<Answer | number>} or a close code; 0: it failed on the way
   */
  async #once(body) {
    const request = new AbortController();
    const timer = this.host.after(() => request.abort(), TIMEOUT_MS);
    this.running.add(request);
    try {
      const response = await this.#post(body, { signal: request.signal });
      if (!response.ok) {
        return REFUSED.get(response.status) ?? 0;
      }
      return /** @type {Answer} */ (await response.json());
    } catch {
      return 0;
    } finally {
      this.host.cancel(timer);
      this.running.delete(request);
    }
  }

  /**
   * @param {string} body
   * @param {RequestInit} options
   */
  #post(body, options) {
    return this.host.fetch(this.url, { method: "POST", headers: { "Content-Type": "application/json" }, body, ...options });
  }

  /**
   * @param {object} fields
   * @param {string[]} messages each of them JSON already
   */
  #body(fields, messages) {
    const head = JSON.stringify({ session: this.session, ack: this.heard, ...fields });
    return `${head.slice(0, -1)},"messages":[${messages.join(",")}]}`;
  }
}
