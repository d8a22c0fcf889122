// @ts-check
/** What a match did to one's rating. It is known when the result is stored: a moment after the end. */

import { getMatch } from "./api.js";
import { element, say } from "./hud.js";

const TRIES = 8;
const WAIT_MS = 750;

/** @param {import("./api.js").Rating | null | undefined} rating */
export function showRating(rating) {
  const line = element("end-rating");
  line.hidden = !rating;
  if (rating) {
    const change = rating.after - rating.before;
    const difference = `${change < 0 ? "−" : "+"}${Math.abs(change)}`;
    line.textContent = say(rating.provisional ? "ratingProvisional" : "rating", { after: rating.after, difference });
  }
}

/**
 * Ask until the result is stored, and show the rating if the match was rated.
 * @param {string} id
 * @param {number} side own
 */
export async function awaitRating(id, side) {
  for (let left = TRIES; left > 0; left -= 1) {
    await new Promise((done) => setTimeout(done, WAIT_MS));
    const summary = await getMatch(id).catch(() => null);
    if (summary?.status === "finished") {
      showRating(summary.ratings[side]);
      return;
    }
  }
}
