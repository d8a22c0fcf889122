// @ts-check
/** A player is looked for while the machine is played: how long that takes, whom we meet, three seconds, and over. */

import { createMatch } from "./api.js";
import { announce, duration, element, playerName, say, showToast } from "./hud.js";
import { Lobby } from "./lobby.js";
import { isLooking, look, metIn, rememberMet } from "./looking.js";
import { countSound } from "./sound.js";

const ARRIVAL_MS = 10000; // for the other one to come onto the court
const LEVEL = "matchpoint.level"; // of the landing page

/**
 * @param {import("./api.js").Summary} match
 * @param {{hasStarted: () => boolean, giveUp: () => void}} court `giveUp` ends the match that is left behind
 */
export function wireMeeting(match, court) {
  if (match.mode === "ai" && match.you !== null && isLooking()) {
    new Meeting(match, court.giveUp).start();
  } else if (metIn() === match.id && match.you !== null && match.status !== "finished") {
    awaitOther(match, court);
  }
}

class Meeting {
  /**
   * @param {import("./api.js").Summary} match
   * @param {() => void} giveUp
   */
  constructor(match, giveUp) {
    this.match = match;
    this.giveUp = giveUp;
    this.since = performance.now();
    /** @type {import("./lobby.js").Site["courts"]} */
    this.courts = "free";
    /** @type {import("./lobby.js").Met | null} */
    this.met = null;
    /** @type {number | undefined} */
    this.countdown = undefined;
    this.lobby = new Lobby({
      site: ({ courts }) => this.#show(courts),
      you: (you) => this.#hear(you),
      met: (met) => this.#meet(met),
      off: ({ match: id }) => this.#off(id),
    });
  }

  start() {
    element("meeting-stop").addEventListener("click", () => this.#stop());
    element("met-no").addEventListener("click", () => this.#stop());
    // Before the question whether to leave the match
    addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.met !== null) {
        event.stopImmediatePropagation();
        this.#stop();
      }
    }, { capture: true });
    this.lobby.start();
    this.lobby.wait();
    element("meeting").hidden = false;
    this.#show("free");
    this.clock = setInterval(() => this.#show(this.courts), 1000);
  }

  /** @param {import("./lobby.js").Site["courts"]} courts */
  #show(courts) {
    this.courts = courts;
    const word = courts === "free" ? "look" : courts === "away" ? "lookAway" : "lookFull";
    const time = duration((performance.now() - this.since) / 1000);
    element("meeting-text").textContent = say(word, { time });
  }

  /** @param {import("./lobby.js").You} you */
  #hear(you) {
    if (you.state === "waiting") {
      this.since = performance.now() - you.waited_ms;
      this.#show(this.courts);
    } else if (you.state === "elsewhere") {
      showToast(say("lookElsewhere"));
      this.#end();
    }
  }

  /** @param {import("./lobby.js").Met} met */
  #meet(met) {
    if (this.met?.match === met.match) {
      return; // told again, after a reconnect
    }
    this.met = met;
    const detail = met.rated ? say("metRated") : say("metUnrated");
    element("met-title").textContent = say("met", { name: met.name });
    element("met-detail").textContent = met.rating === null ? detail : `${say("metRating", { rating: met.rating })} ${detail}`;
    element("met").hidden = false;
    element("meeting").hidden = true;
    document.title = say("met", { name: met.name });
    announce(`${say("met", { name: met.name })}. ${detail}`);
    this.#count(performance.now() + met.in_ms);
  }

  /** @param {number} end ms */
  #count(end) {
    const left = end - performance.now();
    if (left <= 0) {
      this.#goOver();
      return;
    }
    const seconds = Math.ceil(left / 1000);
    element("met-count").textContent = String(seconds);
    countSound(seconds === 1);
    this.countdown = window.setTimeout(() => this.#count(end), left - (seconds - 1) * 1000);
  }

  #goOver() {
    const { met } = this;
    if (met === null) {
      return;
    }
    look(false);
    rememberMet(met.match);
    this.giveUp();
    location.assign(location.pathname.replace(this.match.id, met.match));
  }

  /** @param {string} match */
  #off(match) {
    if (this.met?.match !== match) {
      return;
    }
    showToast(say("metOff", { name: this.met.name }));
    announce(say("metOff", { name: this.met.name }));
    this.#forget();
  }

  #forget() {
    clearTimeout(this.countdown);
    this.met = null;
    element("met").hidden = true;
    element("meeting").hidden = false;
  }

  /** The player stays with the machine. */
  #stop() {
    this.lobby.cancel();
    this.#end();
    announce(say("lookStopped"));
  }

  #end() {
    this.#forget();
    look(false);
    clearInterval(this.clock);
    element("meeting").hidden = true;
    // What was said last has to get through.
    setTimeout(() => this.lobby.stop(), 1000);
  }
}

/**
 * We came from the lobby. If the other one does not, back to a machine and to looking.
 * @param {import("./api.js").Summary} match
 * @param {{hasStarted: () => boolean, giveUp: () => void}} court
 */
function awaitOther(match, court) {
  const name = playerName(match.players[1 - Number(match.you)]);
  showToast(say("metComing", { name }), ARRIVAL_MS);
  setTimeout(async () => {
    rememberMet(null);
    if (court.hasStarted()) {
      return;
    }
    announce(say("metMissing", { name }));
    court.giveUp();
    try {
      const { url } = await createMatch({ mode: "ai", level: localStorage.getItem(LEVEL) ?? "normal" });
      look(true);
      location.assign(url);
    } catch {
      location.assign(element("match").dataset.home ?? "/");
    }
  }, ARRIVAL_MS);
}
