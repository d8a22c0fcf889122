// @ts-check
/** The buttons around a match that need nothing of the match but its score and its address. */

import { copy, element, say, share } from "./hud.js";
import { change, settings } from "./settings.js";

export function wireMute() {
  const mute = element("mute");
  const show = () => {
    const { sound } = settings();
    mute.ariaPressed = String(!sound);
    for (const icon of mute.querySelectorAll("[data-when]")) {
      icon.toggleAttribute("hidden", (icon.getAttribute("data-when") === "on") !== sound);
    }
  };
  mute.addEventListener("click", () => change({ sound: !settings().sound }));
  document.addEventListener("matchpoint:settings", show);
  show();
}

/** @param {() => [number, number]} score */
export function wireSharing(score) {
  const { url = location.href, replay = "/" } = element("match").dataset;
  const copyButton = element("invite-copy");
  copyButton.addEventListener("click", () => copy(copyButton, url));
  const shareInvite = element("invite-share");
  shareInvite.hidden = navigator.share === undefined;
  shareInvite.addEventListener("click", () => void navigator.share({ url }).catch(() => undefined));
  const shareResult = element("share");
  shareResult.addEventListener("click", () => {
    const [left, right] = score();
    void share(shareResult, { text: say("shareText", { left, right }), url: new URL(replay, location.href).href });
  });
}
