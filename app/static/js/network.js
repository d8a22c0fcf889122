// @ts-check
/** What the banner says of the network: ours, and the other player's. */

import { capital, playerName, say, showBanner } from "./hud.js";

/**
 * @param {import("./socket.js").Status} status other than live
 * @returns {string}
 */
export function connectionWord(status) {
  return say(`banner${capital(status)}`);
}

/**
 * The same seconds for the one who waits and the one who is away. The machine has no clock.
 * @param {import("./absence.js").Absence} absence
 * @param {{side: number | null, players: import("./hud.js").Players, mode: "ai" | "friend", status: import("./socket.js").Status}} match
 */
export function showAbsence(absence, { side, players, mode, status }) {
  const isLive = status === "live" || status === "unstable";
  for (const who of /** @type {const} */ ([0, 1])) {
    const seconds = absence.left(who, performance.now());
    if (seconds !== null && who !== side && isLive) {
      showBanner("peer", say("bannerPeer", { name: playerName(players[who]), seconds }), true);
    } else if (seconds !== null && who === side && status === "reconnecting") {
      showBanner("reconnecting", mode === "ai" ? say("bannerMachineWaits") : say("bannerAway", { seconds }));
    }
  }
}
