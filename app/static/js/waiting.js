// @ts-check
/** A match against the machine that was left: it waits, and the landing page leads back to it. */

const KEY = "matchpoint.waiting";
const PATIENCE_MS = 600000; // of the server

/** @param {string | null} url of the match that is left now; null: none waits any more */
export function remember(url) {
  try {
    if (url === null) {
      localStorage.removeItem(KEY);
    } else {
      localStorage.setItem(KEY, JSON.stringify({ url, until: Date.now() + PATIENCE_MS }));
    }
  } catch {
    // A private window may refuse: the match waits all the same, at its own address.
  }
}

/** @returns {string | null} the address of the match that waits */
export function waiting() {
  try {
    const { url, until } = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    return typeof url === "string" && url.startsWith("/") && until > Date.now() ? url : null;
  } catch {
    return null;
  }
}
