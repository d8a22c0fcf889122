// @ts-check
import { halfAt } from "./engine.js";

/**
 * The court on a canvas. The field is always 1000 by 600 units, whatever the screen: nobody sees more than another.
 * Upright screens turn it by a quarter so that the own side is at the bottom.
 */

const MARGIN_X = 62; // u of run-off behind the paddles
const MARGIN_Y = 16;
const INSET = 8;
const PADDLE_WIDTH = 15;
const TRAIL_MS = 190; // at full speed
const RING_MS = 260;
const LABEL_MS = 4500;
const DPR_MAX = 2.5;
const SECOND = 1000000;

/**
 * @typedef {import("./predict.js").Scene} Scene
 * @typedef {import("./engine.js").Rules} Rules
 * @typedef {{ink: string, dim: string, line: string, ball: string, glow: string, haze: string, trail: string, clear: string, court: string, lit: string,
 *   dark: string, font: string}} Paint
 */

export class Court {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {Rules} rules
   * @param {{side?: number | null, label?: string, lines?: number}} options `label` stands beside the own paddle at
   *   first; `lines` is how strong net and lines are drawn, 0 to 1
   */
  constructor(canvas, rules, { side = null, label = "", lines = 1 } = {}) {
    this.canvas = canvas;
    this.rules = rules;
    this.side = side;
    this.label = label;
    this.lines = lines;
    this.labelUntil = 0;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    this.ground = document.createElement("canvas");
    this.scale = 1;
    this.isUpright = false;
    /** @type {{x: number, y: number, t: number}[]} */
    this.trail = [];
    /** @type {{x: number, y: number, t: number}[]} */
    this.rings = [];
    /** @type {Paint} */
    this.paint = this.#paint();
    new ResizeObserver(() => this.resize()).observe(canvas);
    for (const query of ["(prefers-color-scheme: dark)", "(forced-colors: active)", "(prefers-contrast: more)"]) {
      matchMedia(query).addEventListener("change", () => this.resize());
    }
    document.addEventListener("matchpoint:settings", () => this.resize());
    this.resize();
  }

  get isCalm() {
    return document.documentElement.dataset.motion === "reduced" || matchMedia("(prefers-reduced-motion: reduce)").matches;
  }

  /** Fit the field into the canvas at the screen's own resolution, and paint what never moves. */
  resize() {
    const { canvas, rules } = this;
    const ratio = Math.min(devicePixelRatio || 1, DPR_MAX);
    const width = Math.max(1, Math.round(canvas.clientWidth * ratio));
    const height = Math.max(1, Math.round(canvas.clientHeight * ratio));
    const long = rules.width + 2 * MARGIN_X;
    const short = rules.height + 2 * MARGIN_Y;
    this.isUpright = height > width;
    this.scale = this.isUpright ? Math.min(width / short, height / long) : Math.min(width / long, height / short);
    canvas.width = this.ground.width = width;
    canvas.height = this.ground.height = height;
    this.paint = this.#paint();
    this.#drawGround();
  }

  /**
   * A point of the page, in field units.
   * @param {number} clientX
   * @param {number} clientY
   * @returns {{x: number, y: number}}
   */
  toField(clientX, clientY) {
    const box = this.canvas.getBoundingClientRect();
    const ratio = this.canvas.width / box.width;
    const right = ((clientX - box.left) * ratio - this.canvas.width / 2) / this.scale;
    const down = ((clientY - box.top) * ratio - this.canvas.height / 2) / this.scale;
    const { width, height } = this.rules;
    if (!this.isUpright) {
      return { x: width / 2 + right, y: height / 2 + down };
    }
    const turn = this.side === 1 ? -1 : 1;
    return { x: width / 2 - turn * down, y: height / 2 + turn * right };
  }

  /**
   * @param {Scene} scene
   * @param {number} now µs
   */
  draw(scene, now) {
    const { context, rules, paint } = this;
    const calm = this.isCalm;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.drawImage(this.ground, 0, 0);
    this.#toField(context);
    if (scene.hit !== null) {
      this.rings.push({ x: scene.hit.x, y: scene.hit.y, t: now });
    }
    for (const side of [0, 1]) {
      const isOwn = this.side === side;
      context.globalAlpha = this.side === null || isOwn ? 1 : 0.78;
      context.fillStyle = paint.ink;
      const x = side === 0 ? -rules.ball_radius - PADDLE_WIDTH : rules.width + rules.ball_radius;
      // A long paddle's end slides behind the wall
      const half = halfAt(rules, scene.hits);
      const top = Math.max(-rules.ball_radius / 2, scene.paddles[side] - half);
      const bottom = Math.min(rules.height + rules.ball_radius / 2, scene.paddles[side] + half);
      context.beginPath();
      context.roundRect(x, top, PADDLE_WIDTH, bottom - top, PADDLE_WIDTH / 2);
      context.fill();
      context.globalAlpha = 1;
    }
    if (!calm) {
      this.#drawRings(now);
    }
    this.#drawBall(scene, now, calm);
    if (this.side !== null && this.label !== "" && now < this.labelUntil) {
      this.#drawLabel(scene.paddles[this.side], Math.min(1, (this.labelUntil - now) / (SECOND / 3)));
    }
    context.setTransform(1, 0, 0, 1, 0, 0);
  }

  /** What is drawn next has nothing to do with what was drawn before. */
  forget() {
    this.trail = [];
    this.rings = [];
  }

  /**
   * Show whose paddle is whose for a while.
   * @param {number} now µs
   */
  introduce(now) {
    this.labelUntil = now + LABEL_MS * 1000;
  }

  /**
   * @param {Scene} scene
   * @param {number} now
   * @param {boolean} calm
   */
  #drawBall({ ball, direction }, now, calm) {
    const { context, paint, rules } = this;
    if (ball === null) {
      this.trail = [];
      return;
    }
    const radius = rules.ball_radius;
    const outside = Math.max(0, -ball.x, ball.x - rules.width);
    context.globalAlpha = Math.max(0, 1 - outside / (MARGIN_X * 3));
    const last = this.trail[this.trail.length - 1];
    if (last !== undefined && Math.abs(last.x - ball.x) + Math.abs(last.y - ball.y) > 200) {
      this.trail = [];
    }
    this.trail.push({ x: ball.x, y: ball.y, t: now });
    const length = TRAIL_MS * 1000 * Math.min(1, ball.speed / rules.speed_max);
    this.trail = this.trail.filter((point) => now - point.t <= length && point.t <= now);
    if (!calm && ball.waiting === 0) {
      this.#drawTrail(now, length);
    }
    if (ball.waiting > 0) {
      this.#drawServe(ball, direction, calm ? 0.5 : (ball.waiting / (SECOND * 0.6)) % 1);
    }
    const glow = context.createRadialGradient(ball.x, ball.y, radius * 0.8, ball.x, ball.y, radius * 3.6);
    glow.addColorStop(0, paint.glow);
    glow.addColorStop(0.35, paint.haze);
    glow.addColorStop(1, paint.clear);
    context.fillStyle = glow;
    context.beginPath();
    context.arc(ball.x, ball.y, radius * 3.6, 0, 2 * Math.PI);
    context.fill();
    context.fillStyle = paint.ball;
    context.beginPath();
    context.arc(ball.x, ball.y, radius, 0, 2 * Math.PI);
    context.fill();
    context.globalAlpha = 1;
  }

  /**
   * The trail grows with the ball's speed: faster is visible, not only a colour. One shape, from the ball to a tip.
   * @param {number} now
   * @param {number} length µs
   */
  #drawTrail(now, length) {
    const { context, paint, rules, trail } = this;
    if (trail.length < 2) {
      return;
    }
    const head = trail[trail.length - 1];
    const fade = context.createLinearGradient(head.x, head.y, trail[0].x, trail[0].y);
    fade.addColorStop(0, paint.trail);
    fade.addColorStop(1, paint.clear);
    context.fillStyle = fade;
    context.beginPath();
    for (const edge of [1, -1]) {
      const points = edge === 1 ? trail : [...trail].reverse();
      for (const point of points) {
        const i = trail.indexOf(point);
        const [from, to] = i === 0 ? [trail[0], trail[1]] : [trail[i - 1], point];
        const way = Math.hypot(to.x - from.x, to.y - from.y) || 1;
        const half = edge * rules.ball_radius * 0.92 * Math.max(0, 1 - (now - point.t) / length);
        context.lineTo(point.x - ((to.y - from.y) / way) * half, point.y + ((to.x - from.x) / way) * half);
      }
    }
    context.fill();
  }

  /**
   * A waiting ball, and the way it will leave.
   * @param {{x: number, y: number}} ball
   * @param {number} direction
   * @param {number} beat 0 to 1, falls with time
   */
  #drawServe({ x, y }, direction, beat) {
    const { context, paint } = this;
    context.strokeStyle = paint.ball;
    context.lineWidth = 4;
    context.lineCap = context.lineJoin = "round";
    for (const step of [0, 1, 2]) {
      context.globalAlpha = Math.max(0.15, 1 - Math.abs(step / 2 - (1 - beat)) * 1.6);
      const tip = x + direction * (44 + 22 * step);
      context.beginPath();
      context.moveTo(tip - direction * 9, y - 10);
      context.lineTo(tip, y);
      context.lineTo(tip - direction * 9, y + 10);
      context.stroke();
    }
    context.globalAlpha = 1;
  }

  /** @param {number} now */
  #drawRings(now) {
    const { context, paint, rules } = this;
    this.rings = this.rings.filter((ring) => now - ring.t < RING_MS * 1000 && ring.t <= now);
    context.strokeStyle = paint.ink;
    for (const ring of this.rings) {
      const age = (now - ring.t) / (RING_MS * 1000);
      context.globalAlpha = (1 - age) * 0.7;
      context.lineWidth = 4 * (1 - age) + 0.5;
      context.beginPath();
      context.arc(ring.x, ring.y, rules.ball_radius + 42 * age, 0, 2 * Math.PI);
      context.stroke();
    }
    context.globalAlpha = 1;
  }

  /**
   * @param {number} y of the own paddle
   * @param {number} alpha
   */
  #drawLabel(y, alpha) {
    const { context, paint, rules } = this;
    const inward = this.side === 0 ? 1 : -1;
    const x = (this.side === 0 ? 0 : rules.width) + inward * 22;
    context.save();
    context.translate(x, y);
    context.globalAlpha = alpha;
    context.fillStyle = paint.ink;
    context.beginPath();
    context.moveTo(0, 0);
    context.lineTo(inward * 14, -9);
    context.lineTo(inward * 14, 9);
    context.fill();
    context.translate(inward * 24, 0);
    if (this.isUpright) {
      context.rotate(this.side === 0 ? Math.PI / 2 : -Math.PI / 2);
    }
    const left = this.isUpright ? "center" : this.side === 0 ? "left" : "right";
    context.textAlign = /** @type {CanvasTextAlign} */ (left);
    context.textBaseline = this.isUpright ? "bottom" : "middle";
    context.font = `700 30px ${paint.font}`;
    context.fillText(this.label, 0, 0);
    context.restore();
  }

  #drawGround() {
    const { ground, rules, paint } = this;
    const context = /** @type {CanvasRenderingContext2D} */ (ground.getContext("2d"));
    const { width, height } = ground;
    // Floodlights: bright in the middle of the court, dark at its edges.
    context.setTransform(1, 0, 0, 1, 0, 0);
    const light = context.createRadialGradient(width / 2, height / 2, 0, width / 2, height / 2, Math.hypot(width, height) / 2);
    light.addColorStop(0, paint.lit);
    light.addColorStop(0.55, paint.court);
    light.addColorStop(1, paint.dark);
    context.fillStyle = light;
    context.fillRect(0, 0, width, height);
    this.#toField(context);
    context.strokeStyle = paint.line;
    context.lineWidth = 2;
    context.globalAlpha = 0.3 * this.lines;
    context.beginPath();
    for (const x of [rules.width / 4, (rules.width * 3) / 4]) {
      context.moveTo(x, 0);
      context.lineTo(x, rules.height);
    }
    for (const x of [INSET - MARGIN_X, rules.width + MARGIN_X - INSET]) {
      context.moveTo(x, 0);
      context.lineTo(x, rules.height);
    }
    context.moveTo(rules.width / 4, rules.height / 2);
    context.lineTo((rules.width * 3) / 4, rules.height / 2);
    context.stroke();
    context.globalAlpha = 0.6 * this.lines;
    context.lineWidth = 5;
    context.setLineDash([16, 16]);
    context.beginPath();
    context.moveTo(rules.width / 2, 8);
    context.lineTo(rules.width / 2, rules.height);
    context.stroke();
    context.setLineDash([]);
    context.globalAlpha = 1;
    context.lineCap = "round";
    context.beginPath();
    for (const y of [-2.5, rules.height + 2.5]) {
      context.moveTo(INSET - MARGIN_X, y);
      context.lineTo(rules.width + MARGIN_X - INSET, y);
    }
    context.stroke();
  }

  /** @param {CanvasRenderingContext2D} context */
  #toField(context) {
    const { scale, rules, canvas } = this;
    context.setTransform(1, 0, 0, 1, canvas.width / 2, canvas.height / 2);
    if (this.isUpright) {
      context.rotate(this.side === 1 ? Math.PI / 2 : -Math.PI / 2);
    }
    context.scale(scale, scale);
    context.translate(-rules.width / 2, -rules.height / 2);
  }

  /** @returns {Paint} the colours of the stylesheet, with the theme, light-dark() and system colours resolved */
  #paint() {
    const probe = document.createElement("span");
    probe.hidden = true;
    probe.style.setProperty("forced-color-adjust", "none"); // else every colour, also a clear one, is the text's
    this.canvas.parentElement?.append(probe);
    const colour = (/** @type {string} */ name) => {
      probe.style.color = `var(--${name})`;
      return getComputedStyle(probe).color;
    };
    const paint = {
      ink: colour("court-ink"),
      dim: colour("court-ink-dim"),
      line: colour("court-line"),
      ball: colour("ball"),
      glow: colour("ball-glow"),
      haze: colour("ball-haze"),
      trail: colour("ball-trail"),
      clear: colour("ball-clear"),
      court: colour("court"),
      lit: colour("court-lit"),
      dark: colour("court-dark"),
      font: getComputedStyle(probe).fontFamily,
    };
    probe.remove();
    return paint;
  }
}
