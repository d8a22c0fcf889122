// @ts-check
/** The end of a match: its card, and how it is told. */

import { getReplay } from "./api.js";
import { say, showResult } from "./hud.js";
import { showRating } from "./standing.js";
import { Statistics } from "./statistics.js";
import { circumstance, verdict } from "./verdict.js";

const SECOND = 1000000;

/** @typedef {import("./verdict.js").Ending} Ending */

/**
 * How it ended, with the score, to be read out.
 * @param {Ending} ending
 * @param {number | null} side of the reader; null: a spectator
 * @returns {string}
 */
export function inWords(ending, side) {
  const [left, right] = ending.score;
  const final = say("final", { title: verdict(ending, side), left, right });
  return [final, circumstance(ending, side)].filter((words) => words !== null).join(" ");
}

/**
 * @param {Ending} ending
 * @param {number | null} side
 * @param {{longest: number, fastest: number, seconds: number} | null} numbers null: not known
 * @param {number | null} seconds of the match, where the rest is not known
 */
export function showEnding(ending, side, numbers, seconds = null) {
  showResult({
    title: verdict(ending, side),
    reason: circumstance(ending, side),
    score: ending.score,
    rally: numbers?.longest ?? null,
    speed: numbers?.fastest ?? null,
    seconds: numbers?.seconds ?? seconds,
    canRematch: side !== null,
  });
}

/**
 * The card of a stored match. Its numbers come from the stored timeline, when that is here.
 * @param {import("./api.js").Summary} match
 * @param {number | null} side
 */
export async function showStored(match, side) {
  showEnding(match, side, null, match.duration_us === null ? null : match.duration_us / SECOND);
  if (side !== null) {
    showRating(match.ratings[side]);
  }
  const stored = match.status === "finished" ? await getReplay(match.id).catch(() => null) : null;
  if (stored !== null) {
    const statistics = new Statistics();
    stored.events.forEach((event) => statistics.add(event));
    showEnding(match, side, statistics);
  }
}
