// @ts-check
/** Another match of the same kind: agreed on by both players, or simply made when nobody is on the court any more. */

import { createMatch } from "./api.js";
import { element, playerName, say, showOffer } from "./hud.js";

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
