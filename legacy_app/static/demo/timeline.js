/*
 * A timeline of marks that moves to the left; its right edge is now. An SVG, and no idea of what the marks mean.
 *
 * Everything hangs on the right edge, at negative x, so the width does not matter. A mark's kind is its class.
 */

const SECOND = 12; // pixels: a job's steps, five in a second, can be told apart
const BASE = 52; // y of the time axis
const LONGEST = 150; // seconds that are kept
const LABEL_ROOM = 46; // pixels between two labels
const WIDTHS = { event: 1.4, opening: 4, caught: 4 };
const HEART = "M0 4 C-7 -1 -5 -7 -1.6 -6 C-.6 -5.7 0 -5 0 -4.3 C0 -5 .6 -5.7 1.6 -6 C5 -7 7 -1 0 4Z";

const SVG = "http://www.w3.org/2000/svg";

function make(name, attributes, parent) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent.append(made);
  return made;
}

export class Timeline {
  #began = performance.now();
  #labelled = -Infinity;
  #band;

  constructor(svg) {
    const edge = make("svg", { x: "100%", overflow: "visible" }, svg);
    drawAxis(make("g", { class: "axis" }, edge));
    this.marks = make("g", {}, edge);
  }

  /** A chunk of so many bytes; `words` are what a pointer that rests on it is told. Its label is its size, or another. */
  chunk(kind, size, words, label) {
    const mark = this.#mark(kind, words);
    const height = kind === "beat" ? 14 : Math.min(6 + 11 * Math.max(0, Math.log10(size / 20)), 38);
    const width = WIDTHS[kind];
    if (kind === "beat") make("path", { d: HEART, transform: `translate(0 ${BASE - 8}) scale(1.25)` }, mark);
    else make("rect", { x: -width / 2, y: BASE - height, width, height }, mark);
    this.#label(mark, BASE - height - 4, label ?? bytes(size), label !== undefined);
  }

  /** A moment that brought no bytes. */
  moment(kind, words) {
    const mark = this.#mark(kind, words);
    if (kind === "request") make("path", { d: `M-3 ${BASE - 9} L4 ${BASE - 4.5} L-3 ${BASE}Z` }, mark);
    else make("line", { x1: 0, x2: 0, y1: 6, y2: BASE }, mark);
  }

  /** From now on, until `endBand`, nothing has been answered. */
  beginBand(kind) {
    this.#band = make("rect", { class: kind, x: this.#now(), y: 14, width: 0, height: BASE - 14 }, this.marks);
  }

  endBand() {
    this.draw();
    this.#band = undefined;
  }

  /** Move on to now. */
  draw() {
    const now = this.#now();
    this.marks.setAttribute("transform", `translate(${-now.toFixed(1)})`);
    this.#band?.setAttribute("width", now - Number(this.#band.getAttribute("x")));
    while (this.marks.children.length > 1 && this.#age(this.marks.firstChild) > LONGEST) this.marks.firstChild.remove();
  }

  #now() {
    return ((performance.now() - this.#began) / 1000) * SECOND;
  }

  #age(mark) {
    return (this.#now() - Number(mark.dataset.x ?? mark.getAttribute("x"))) / SECOND;
  }

  #mark(kind, words) {
    const x = this.#now().toFixed(1);
    const mark = make("g", { class: kind, transform: `translate(${x})`, "data-x": x }, this.marks);
    make("title", {}, mark).textContent = words;
    return mark;
  }

  /** Where there is room; or where it is wanted. */
  #label(mark, y, text, isWanted) {
    const x = Number(mark.dataset.x);
    if (x - this.#labelled < LABEL_ROOM && !isWanted) return;
    this.#labelled = x;
    make("text", { y, "text-anchor": "middle" }, mark).textContent = text;
  }
}

function drawAxis(axis) {
  make("line", { x1: -LONGEST * SECOND, x2: 0, y1: BASE, y2: BASE }, axis);
  for (let second = 10; second < LONGEST; second += 10) {
    const x = -second * SECOND;
    make("line", { x1: x, x2: x, y1: BASE, y2: BASE + 4 }, axis);
    make("text", { x, y: BASE + 15, "text-anchor": "middle" }, axis).textContent = `−${second} s`;
  }
  make("text", { x: -3, y: BASE + 15, "text-anchor": "end" }, axis).textContent = Texts.t("now");
}

export function bytes(size) {
  return size < 1000 ? `${size} B` : `${Texts.tenths(size / 1000)} kB`;
}
