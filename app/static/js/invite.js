// @ts-check
/** The panel of a match that waits for a friend: how many points it goes to, and the way out of it. */

import { createMatch } from "./api.js";
import { announce, element, say } from "./hud.js";

/**
 * @param {import("./api.js").Summary} match
 * @param {() => void} giveUp ends the match, which nobody has joined
 */
export function wireInvite(match, giveUp) {
  const form = /** @type {HTMLFormElement} */ (element("invite-points"));
  const failure = element("invite-failure");
  const radios = /** @type {NodeListOf<HTMLInputElement>} */ (form.querySelectorAll("input"));
  const choose = (/** @type {number} */ points) => radios.forEach((radio) => (radio.checked = Number(radio.value) === points));
  choose(match.points);
  form.addEventListener("change", async () => {
    const points = Number(new FormData(form).get("points"));
    failure.textContent = "";
    try {
      // How many points a match goes to is settled when it is made; this one has no friend in it yet.
      const { url } = await createMatch({ mode: "friend", points });
      giveUp();
      location.replace(url);
    } catch {
      choose(match.points);
      failure.textContent = say("inviteFailed");
      announce(say("inviteFailed"));
    }
  });
  element("invite-cancel").addEventListener("click", () => {
    giveUp();
    location.assign(element("match").dataset.home ?? "/");
  });
}
