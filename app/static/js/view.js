// @ts-check
/** What a match looks and sounds like, whatever it is fed from: the socket of a live match, or a stored timeline. */

import { apply, initial } from "./engine.js";
import { element } from "./hud.js";
import { Stage } from "./predict.js";
import { Court } from "./render.js";
import { hitSound, wallSound } from "./sound.js";

/**
 * @typedef {import("./engine.js").MatchState} MatchState
 * @typedef {import("./engine.js").MatchEvent} MatchEvent
 */

export class MatchView {
  /**
   * @param {MatchState} state
   * @param {string} label beside the own paddle at first
   */
  constructor(state, label = "") {
    this.state = state;
    this.stage = new Stage(state.rules);
    this.court = new Court(/** @type {HTMLCanvasElement} */ (element("court")), state.rules, { label });
  }

  /**
   * Go on from a key frame, of a match by its own rules.
   * @param {MatchState} state
   */
  show(state) {
    this.state = state;
    this.stage.rules = this.court.rules = state.rules;
  }

  /**
   * Go on from another moment: nothing is walked in from where it was.
   * @param {MatchState} state
   */
  jump(state) {
    this.stage = new Stage(state.rules);
    this.court.forget();
    this.show(state);
  }

  /**
   * Fold events that are new into the state.
   * @param {MatchEvent[]} events
   * @param {(event: MatchEvent) => void} happen called for each, with the state after it
   * @returns {boolean} false: one is missing, and only a key frame helps; the state is at version 0
   */
  fold(events, happen) {
    for (const event of events) {
      if (event.v <= this.state.version) {
        continue;
      }
      try {
        this.state = apply(this.state, event);
      } catch {
        this.state = initial(this.state.rules);
        return false;
      }
      happen(event);
    }
    return true;
  }

  /**
   * Draw a frame, and let its hits be heard.
   * @param {number} now µs of match time
   * @param {{side: number, paddle: import("./predict.js").OwnPaddle, live: number | null} | null} own null: a spectator
   */
  draw(now, own) {
    const scene = this.stage.scene(this.state, now, own);
    this.court.draw(scene, now);
    if (scene.hit !== null) {
      hitSound(scene.hit.speed);
    } else if (scene.bounced) {
      wallSound();
    }
  }
}
