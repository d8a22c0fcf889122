// @ts-check
/** Another match of the same kind: agreed on by both players, or simply made when nobody is on the court any more. */

import { createMatch } from "./api.js";
import { element, playerName, say, showOffer } from "./hud.js";

let isAsking = false; // we have, and nobody has answered

/**
 * The other one has come or gone, after the end: an offer is for who is here.
 * @param {string} name
 * @param {boolean} isHere
 */
export function hearOther(name, isHere) {
  isAsking = false;
  showOffer(isHere ? "" : say("offerLeft", { name }), !isHere);
  element("rematch").textContent = say("rematch");
}

/**
 * The court has been cleared.
 * @param {string} name of the other one
 */
export function hearNothing(name) {
  if (isAsking) {
    isAsking = false;
    showOffer(say("offerExpired", { name }), true);
  }
}

/**
 * What the server says about a rematch.
 * @param {{side?: number, id?: string}} message
 * @param {import("./api.js").Summary} match
 * @param {number | null} own side
 */
export function hearRematch(message, match, own) {
  if (message.id !== undefined) {
    location.assign(location.pathname.replace(match.id, message.id));
  } else if (message.side !== undefined && own !== null) {
    const name = playerName(match.players[1 - own]);
    if (message.side === own) {
      showOffer(match.mode === "ai" ? "" : say("offerSent", { name }), true);
      isAsking = true;
    } else {
      showOffer(say("offerReceived", { name }), false);
      element("rematch").textContent = say("accept");
    }
  }
}

/**
 * @param {import("./api.js").Summary} match
 * @param {(message: object) => boolean} send false: the court has been cleared
 */
export async function askRematch(match, send) {
  if (send({ t: "rematch" })) {
    return;
  }
  showOffer("", true);
  try {
    const { mode, level, points } = match;
    const next = await createMatch({ mode, points, ...(level === null ? {} : { level }) });
    location.assign(next.url);
  } catch {
    showOffer(say("offerFailed"), false);
  }
}
