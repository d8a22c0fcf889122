// Plays the browser's own socket through a proxy until a ball was hit or missed, and says how it went: one line of JSON.
// Arguments: the proxy's address, the seat as JSON.
import http from "node:http";

import { Clock } from "../../../../app/static/js/clock.js";
import { PollSocket } from "../../../../app/static/js/poll.js";
import { MatchSocket } from "../../../../app/static/js/socket.js";
import { Ways } from "../../../../app/static/js/ways.js";

const [base, seat] = process.argv.slice(2);
const timers = { now: () => performance.now(), after: (call, ms) => setTimeout(call, ms), cancel: clearTimeout };
const ways = [];

/** As much of a WebSocket as gets to a refusal. */
function handshake(path) {
  const headers = { Connection: "Upgrade", Upgrade: "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==" };
  const request = http.request(base + path, { headers: { ...headers, Origin: base } });
  const socket = { send() {}, close: () => request.destroy() };
  request.on("response", () => socket.onclose({ code: 1006 }));
  request.on("upgrade", () => console.log("the proxy lets WebSockets through") ?? process.exit(1));
  request.on("error", () => undefined);
  request.end();
  return socket;
}

function carried(path) {
  const fetchFrom = (url, options) => fetch(base + url, { ...options, headers: { ...options.headers, Origin: base } });
  return new PollSocket(path, { ...timers, fetch: fetchFrom, leaving: () => () => {} });
}

const began = performance.now();
let version = 0;
let live = 0;
const answers = [];
const clock = new Clock();
const match = new MatchSocket(
  clock,
  {
    version: () => version,
    status: (status, reason) => {
      if (status === "live" && live === 0) live = performance.now() - began;
      if (reason !== null) end(reason);
    },
    message: (message) => {
      if (message.t === "welcome" && message.state !== null) version = message.state.version;
      for (const event of message.t === "ev" ? message.e : []) {
        if (event.v !== version + 1) end(`version ${event.v} after ${version}`);
        version = event.v;
        answers.push(event.k);
        if (event.k === "hit" || event.k === "point") end("played");
      }
    },
  },
  {
    ...timers,
    seat: async () => JSON.parse(seat),
    open: (path, way) => {
      ways.push(way);
      return way === "poll" ? carried(path) : handshake(path);
    },
    ways: new Ways(null),
    random: () => 0,
  },
);
match.start();
setTimeout(() => end(`nothing came of it: ${match.status}`), 40000);

function end(how) {
  console.log(JSON.stringify({ how, ways, live: Math.round(live), rtt: clock.rtt, jitter: clock.jitter, events: answers }));
  match.socket?.close();
  setTimeout(() => process.exit(0), 50);
}
