// @ts-check
/** What a tab remembers from page to page: that it looks for a player, and whom it has met. */

const LOOKING = "matchpoint.looking";
const MET = "matchpoint.met";
const MEET = "matchpoint.meet";

/**
 * A private window may refuse: then a page begins anew.
 * @param {Storage} storage
 * @param {string} key
 * @param {string | null} value
 */
function keep(storage, key, value) {
  try {
    if (value === null) {
      storage.removeItem(key);
    } else {
      storage.setItem(key, value);
    }
  } catch {
    // as above
  }
}

export function isLooking() {
  return sessionStorage.getItem(LOOKING) !== null;
}

/** @param {boolean} wants */
export function look(wants) {
  keep(sessionStorage, LOOKING, wants ? "yes" : null);
}

/** @returns {boolean} what the box on the landing page was left at */
export function wantsPlayers() {
  return localStorage.getItem(MEET) !== "no";
}

/** @param {boolean} wants */
export function rememberWish(wants) {
  keep(localStorage, MEET, wants ? null : "no");
}

/** @returns {string | null} the match that this tab has come to from the lobby */
export function metIn() {
  return sessionStorage.getItem(MET);
}

/** @param {string | null} match id */
export function rememberMet(match) {
  keep(sessionStorage, MET, match);
}
