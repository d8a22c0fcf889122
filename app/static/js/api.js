// @ts-check
/** Calls to the HTTP API (docs/protocol.md). */

/**
 * @typedef {{id: string, url: string}} CreatedMatch
 * @typedef {{url: string, token: string, side: 0 | 1 | null, worker: string}} Seat
 * @typedef {{id: string, mode: "ai" | "friend", level: string | null, points: number, status: "waiting" | "live" | "over" | "finished",
 *   players: import("./hud.js").Players, score: [number, number], winner: number | null, reason: string | null,
 *   duration_us: number | null, you: number | null,
 *   ratings: [Rating | null, Rating | null]}} Summary
 * @typedef {{before: number, after: number, provisional: boolean}} Rating
 */

const TIMEOUT_MS = 8000;

/** An answer that is not a success. `status` 0: there was no answer. */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {string} code
   */
  constructor(status, code) {
    super(`${status} ${code}`);
    this.status = status;
    this.code = code;
  }
}

/**
 * @param {string} path
 * @param {object} body
 * @returns {Promise<any>}
 */
function post(path, body) {
  const token = document.querySelector('meta[name="csrf-token"]')?.getAttribute("content") ?? "";
  return call(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "application/json", "X-CSRFToken": token },
    body: JSON.stringify(body),
  });
}

/**
 * @param {string} path
 * @param {RequestInit} options
 * @returns {Promise<any>}
 */
async function call(path, options) {
  /** @type {Response} */
  let response;
  try {
    response = await fetch(path, { ...options, signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch {
    throw new ApiError(0, "offline");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    throw new ApiError(response.status, String(answer.error ?? "unknown"));
  }
  return answer;
}

/**
 * @param {{mode: "ai" | "friend", level?: string, points?: number}} wish
 * @returns {Promise<CreatedMatch>}
 */
export function createMatch(wish) {
  return post("/api/matches", wish);
}

/**
 * The place of this player in the match, and the address of its worker. Asking again is harmless.
 * @param {string} id
 * @returns {Promise<Seat>}
 */
export function takeSeat(id) {
  return post(`/api/matches/${encodeURIComponent(id)}/seat`, {});
}

/**
 * What opens the lobby socket.
 * @returns {Promise<{url: string, token: string}>}
 */
export function enterLobby() {
  return post("/api/lobby", {});
}

/**
 * A finished match from its beginning (docs/replays.md).
 * @param {string} id
 * @returns {Promise<{match: Summary, start: import("./engine.js").MatchState, events: import("./engine.js").MatchEvent[]}>}
 */
export function getReplay(id) {
  return call(`/api/matches/${encodeURIComponent(id)}/replay`, { headers: { Accept: "application/json" } });
}

/**
 * @param {string} id
 * @returns {Promise<Summary>}
 */
export function getMatch(id) {
  return call(`/api/matches/${encodeURIComponent(id)}`, { headers: { Accept: "application/json" } });
}
