// @ts-check
/** A few ticks by WebAudio. Browsers allow no sound before a gesture, and neither do we. */

import { settings, change } from "./settings.js";

/** @type {AudioContext | null} */
let audio = null;

for (const gesture of ["pointerdown", "keydown"]) {
  addEventListener(gesture, () => {
    audio ??= new AudioContext();
    if (audio.state === "suspended") {
      void audio.resume();
    }
  }, { passive: true });
}

addEventListener("keydown", (event) => {
  const isTyping = event.target instanceof Element && event.target.closest("dialog, input, select, textarea") !== null;
  if (event.code === "KeyM" && !event.repeat && !event.ctrlKey && !event.metaKey && !event.altKey && !isTyping) {
    change({ sound: !settings().sound });
  }
});

/**
 * @param {number} pitch Hz
 * @param {number} seconds
 * @param {number} volume 0 to 1
 * @param {OscillatorType} shape
 * @param {number} delay s
 */
function tick(pitch, seconds, volume, shape = "triangle", delay = 0) {
  if (audio === null || audio.state !== "running" || !settings().sound || document.hidden) {
    return;
  }
  const start = audio.currentTime + delay;
  const tone = audio.createOscillator();
  const gain = audio.createGain();
  tone.type = shape;
  tone.frequency.setValueAtTime(pitch, start);
  gain.gain.setValueAtTime(volume, start);
  gain.gain.exponentialRampToValueAtTime(0.0005, start + seconds);
  tone.connect(gain).connect(audio.destination);
  tone.start(start);
  tone.stop(start + seconds);
}

/** @param {number} speed of the ball, u/s: faster is higher */
export function hitSound(speed) {
  tick(260 + speed * 0.35, 0.09, 0.22);
}

export function wallSound() {
  tick(190, 0.05, 0.1);
}

/** @param {boolean} isGood for the listener */
export function pointSound(isGood) {
  tick(isGood ? 523 : 294, 0.16, 0.16);
  tick(isGood ? 784 : 220, 0.26, 0.16, "triangle", 0.12);
}

/** @param {boolean} isLast */
export function countSound(isLast) {
  tick(isLast ? 880 : 440, 0.12, 0.1, "sine");
}
