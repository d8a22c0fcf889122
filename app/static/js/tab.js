// @ts-check
/** One tab plays a match. Another asks before it takes over, and the first one goes on when that one has closed. */

const TAKE_OVER = "matchpoint.takeover"; // the match that this tab takes from another one, over a reload

/**
 * Onto the court, unless another tab is there: then only when this one was chosen.
 * @param {Tab} tab
 * @param {string} match id
 * @param {() => void} play
 * @param {() => void} ask another tab plays: which one shall?
 */
export async function admit(tab, match, play, ask) {
  const isChosen = sessionStorage.getItem(TAKE_OVER) === match;
  sessionStorage.removeItem(TAKE_OVER);
  if (await tab.claim()) {
    play();
  } else if (isChosen) {
    await tab.takeOver();
    play();
  } else {
    ask();
  }
}

/**
 * Choose this tab.
 * @param {string} match id
 */
export function playHere(match) {
  sessionStorage.setItem(TAKE_OVER, match);
  location.reload();
}

/** The lock of a match, shared by the tabs of this browser. Where there are no locks every tab may play. */
export class Tab {
  /**
   * @param {string} match id
   * @param {() => void} lost another tab has taken over
   * @param {Pick<LockManager, "request"> | null} locks null: this browser has none
   */
  constructor(match, lost, locks = navigator.locks ?? null) {
    this.name = `matchpoint:${match}`;
    this.lost = lost;
    this.locks = locks;
    this.isHeld = false;
  }

  /** Whether another tab may be the one that plays. */
  get isElsewhere() {
    return this.locks !== null && !this.isHeld;
  }

  /** @returns {Promise<boolean>} whether this tab may play; false: another one does */
  async claim() {
    return this.isHeld || (await this.#hold({ ifAvailable: true }));
  }

  /** Whoever played elsewhere is told. */
  async takeOver() {
    await this.#hold({ steal: true });
  }

  /** Wait until the other tab is closed. */
  async wait() {
    await this.#hold({});
  }

  /**
   * @param {LockOptions} options
   * @returns {Promise<boolean>}
   */
  #hold(options) {
    const { locks } = this;
    if (locks === null) {
      return Promise.resolve(true);
    }
    return new Promise((resolve) => {
      locks
        .request(this.name, options, (lock) => {
          this.isHeld = lock !== null;
          resolve(this.isHeld);
          return lock === null ? undefined : new Promise(() => {}); // until the tab closes, or another one steals it
        })
        .catch(() => {
          this.isHeld = false;
          this.lost();
        });
    });
  }
}
