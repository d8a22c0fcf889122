// @ts-check
/** The way off the court: a button, Escape, and a question in between while a match is played. */

import { element, say, showPanel } from "./hud.js";

/**
 * @param {{isInPlay: () => boolean, mode: "ai" | "friend", stay: () => void, leave: () => void}} match
 */
export function wireLeaving({ isInPlay, mode, stay, leave }) {
  const panel = element("leaving");
  const ask = () => {
    element("leaving-detail").textContent = say(mode === "ai" ? "leavingMachine" : "leavingFriend");
    showPanel("leaving");
    element("leave-no").focus();
  };
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || document.querySelector("dialog[open]") !== null) {
      return;
    }
    if (!panel.hidden) {
      stay();
    } else if (isInPlay()) {
      ask();
    }
  });
  element("leave").addEventListener("click", () => (isInPlay() ? ask() : leave()));
  element("leave-no").addEventListener("click", stay);
  element("leave-yes").addEventListener("click", leave);
}
