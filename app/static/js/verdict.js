// @ts-check
/** How a match ended, in words, from where one sat. */

import { playerName, say } from "./hud.js";

/**
 * @typedef {object} Ending
 * @property {number | null} winner
 * @property {string | null} reason of the `end` event
 * @property {[number, number]} score
 * @property {import("./hud.js").Players} players
 * @property {"ai" | "friend"} mode
 */

/**
 * @param {Ending} ending
 * @param {number | null} side of the reader; null: a spectator
 * @returns {string}
 */
export function verdict({ winner, reason, score, players }, side) {
  if (winner === null) {
    return say("nobody");
  }
  if (side === null) {
    return say("winner", { name: playerName(players[winner]) });
  }
  const isClose = reason === "score" && Math.abs(score[0] - score[1]) <= 2;
  return say(winner === side ? "won" : isClose ? "lost" : "beaten");
}

/**
 * @param {Ending} ending
 * @param {number | null} side of the reader
 * @returns {string | null} null: the match was played to its end
 */
export function circumstance({ winner, reason, players, mode }, side) {
  if (reason === "abandoned") {
    return say(mode === "ai" && side !== null ? "reasonForfeitYou" : "reasonAbandoned");
  }
  if (reason !== "forfeit" || winner === null) {
    return null;
  }
  const isOurs = side !== null && winner !== side;
  return isOurs ? say("reasonForfeitYou") : say("reasonForfeit", { name: playerName(players[1 - winner]) });
}
