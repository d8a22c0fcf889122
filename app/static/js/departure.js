// @ts-check
/**
 * Matches that were given up. The page that says so goes at once, and may have no connection just then: what was meant
 * stands in this browser until the server knows it, and whichever page is open says it again.
 */

import { takeSeat } from "./api.js";
import { Clock } from "./clock.js";
import { MatchSocket } from "./socket.js";

const KEY = "matchpoint.left";
const MOST = 8;
const LIFE_MS = 31 * 60000; // no match lasts longer

/** @typedef {{id: string, until: number}} Left */

/**
 * @param {number} now ms of the wall clock
 * @returns {Left[]}
 */
function read(now) {
  try {
    const found = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(found) ? found.filter(({ id, until }) => typeof id === "string" && until > now && until <= now + LIFE_MS) : [];
  } catch {
    return [];
  }
}

/** @param {Left[]} matches */
function write(matches) {
  try {
    if (matches.length === 0) {
      localStorage.removeItem(KEY);
    } else {
      localStorage.setItem(KEY, JSON.stringify(matches.slice(-MOST)));
    }
  } catch {
    // A private window may refuse: then who is away too long has left.
  }
}

/**
 * The player gives up a match, for good.
 * @param {string} id
 */
export function rememberLeft(id) {
  const now = Date.now();
  write([...read(now).filter((other) => other.id !== id), { id, until: now + LIFE_MS }]);
}

/** @param {string} id of a match whose end the server knows */
export function forgetLeft(id) {
  write(read(Date.now()).filter((other) => other.id !== id));
}

/**
 * @param {string} id
 * @returns {boolean} whether the player has given it up
 */
export function hasLeft(id) {
  return read(Date.now()).some((other) => other.id === id);
}

/**
 * Tell the server what it may not know yet.
 * @param {string | null} here the match of this page, which says it by its own socket
 * @param {Partial<import("./socket.js").Host>} host tests give their own
 */
export function tellLeft(here = null, host = {}) {
  return read(Date.now())
    .filter(({ id }) => id !== here)
    .map(({ id }) => tell(id, host));
}

/**
 * @param {string} id
 * @param {Partial<import("./socket.js").Host>} host
 */
function tell(id, host) {
  const socket = new MatchSocket(
    new Clock(),
    {
      version: () => 0,
      message: ({ t, side }) => {
        if (t === "welcome" && side === null) {
          socket.stop("refused"); // somebody else is logged in by now
        } else if (t === "welcome") {
          socket.send({ t: "leave" });
        }
      },
      status: (status, reason) => status === "stopped" && reason !== "replaced" && forgetLeft(id),
    },
    { seat: () => takeSeat(id), ...host },
  );
  socket.start();
  return socket;
}
