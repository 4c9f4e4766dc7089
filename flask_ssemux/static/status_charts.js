// The status page's charts: figures over time, and how long streams are silent. Each is drawn again each time, as SVG.
//
// Each chart also says in words what it shows, and has a table.

import { byId, count, element, fillTable, seconds, shape, short, span, sum } from "./status_parts.js";

const SPANS = [60, 120, 240, 600, 1200, 3600]; // seconds from left to right; the first one that shows all points
const ROWS = 30; // in a line chart's table
const LATE = 1.05; // of a heartbeat interval: a longer silence is marked
const HEIGHT = 170;
const BASE = HEIGHT - 22;
const TOP = 14;
const LEFT = 46;
const RIGHT = 8;
const NARROW = 480; // pixels: on a narrower drawing there is no room for all words beside each other

/** A figure's drawing, its description, and its table. Subclasses have `heads`, `rows()` and `draw(…)`. */
class Chart {
  constructor(id) {
    this.figure = byId(id);
    this.title = this.figure.querySelector("figcaption").textContent;
    this.svg = shape("svg", { role: "img" });
    this.table = element("table");
    const label = { role: "region", tabindex: "0", "aria-label": `${this.title}, as a table` };
    const scroll = element("div", { class: "scroll", ...label }, this.table);
    this.details = element("details", {}, element("summary", {}, "As a table"), scroll);
    this.details.addEventListener("toggle", () => this.tabulate());
    this.figure.append(this.svg, this.details);
  }

  /** Start an empty drawing of the figure's width, with this description. */
  begin(words) {
    this.width = Math.max(200, this.svg.clientWidth || 400);
    this.inner = this.width - LEFT - RIGHT;
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${HEIGHT}`);
    this.svg.setAttribute("aria-label", `${this.title}: ${words}`);
    this.svg.replaceChildren();
    this.tabulate();
  }

  tabulate() {
    if (this.details.open) fillTable(this.table, this.heads, this.rows());
  }

  add(name, attributes) {
    this.svg.append(shape(name, attributes));
  }

  write(text, x, y, anchor = "middle", look = undefined) {
    this.svg.append(shape("text", { x, y, "text-anchor": anchor, class: look }, text));
  }

  /** Draw lines at 0, half and all of a round maximum. Return the function that gives a value's height. */
  grid(highest) {
    const top = roundUp(highest);
    const y = (value) => BASE - (value / top) * (BASE - TOP);
    for (const value of [0, top / 2, top]) {
      this.add("line", { class: "grid", x1: LEFT, x2: this.width - RIGHT, y1: y(value), y2: y(value) });
      this.write(short.format(value), LEFT - 6, y(value) + 4, "end");
    }
    return y;
  }
}

/** Return 1, 2 or 5 with zeros; at least 2, so that 1 is not the whole height. */
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return Math.max(2, [1, 2, 5, 10].find((step) => step * power >= value) * power);
}

/** One figure of a history, over time. */
export class LineChart extends Chart {
  points = [];

  /**
   * @param key the figure's name in the points.
   * @param say formats a value.
   * @param scale by which the figure is multiplied.
   */
  constructor(id, key, say, scale = 1) {
    super(id);
    this.key = key;
    this.say = say;
    this.scale = scale;
    this.heads = ["Time", this.title];
  }

  rows() {
    const all = [...this.points].reverse();
    const every = Math.ceil(all.length / ROWS);
    const clock = (at) => new Date(at * 1000).toLocaleTimeString("en-GB");
    return all
      .filter((_, index) => index % every === 0)
      .map((one) => [clock(one.at), this.say(one[this.key] * this.scale)]);
  }

  /**
   * @param points of the history.
   * @param most the seconds that are shown at most.
   */
  draw({ points, most }) {
    const now = points[points.length - 1].at;
    const recent = points.filter(({ at }) => at >= now - most);
    const wide = SPANS.find((one) => one >= now - recent[0].at) ?? most;
    const all = recent.filter((one) => one[this.key] !== undefined);
    this.points = all;
    const values = all.map((one) => one[this.key] * this.scale);
    const [low, high] = [Math.min(...values), Math.max(...values)].map(this.say);
    if (!all.length) return this.begin("nothing yet");
    this.begin(`now ${this.say(values[values.length - 1])}; in the last ${span(wide)} between ${low} and ${high}`);
    const x = (at) => this.width - RIGHT - ((now - at) / wide) * this.inner;
    this.line(
      all.map((one) => x(one.at)),
      values.map(this.grid(Math.max(...values))),
    );
    this.write(`${span(wide)} ago`, x(now - wide), HEIGHT - 5, "start");
    this.write(`${span(wide / 2)} ago`, x(now - wide / 2), HEIGHT - 5);
    return this.write("now", x(now), HEIGHT - 5, "end");
  }

  line(xs, ys) {
    const path = xs.map((x, index) => `${x.toFixed(1)},${ys[index].toFixed(1)}`);
    const [start, end] = [xs[0], xs[xs.length - 1]].map((x) => `${x.toFixed(1)},${BASE}`);
    this.add("polygon", { class: "filled", points: [start, ...path, end].join(" ") });
    this.add("polyline", { class: "drawn", points: path.join(" ") });
  }
}

/** How many streams are silent for how long, beside the heartbeat interval and the clients' time-out. */
export class SilenceChart extends Chart {
  heads = ["Silent for", "Streams"];
  status = { silence_bounds: [] };
  figures = { silence: [] };

  rows() {
    const { silence_bounds: bounds } = this.status;
    const name = (index) =>
      index < bounds.length ? `${this.start(index)} to ${bounds[index]} s` : `over ${this.start(index)} s`;
    return this.figures.silence.map((number, index) => [name(index), count(number)]);
  }

  /**
   * @param figures of a worker, or of all.
   */
  draw({ status, figures }) {
    this.status = status;
    this.figures = figures;
    const { silence, longest_silence: most } = figures;
    const { heartbeat, client_timeout: timeout } = status;
    const late = sum(silence.filter((_, index) => this.isLate(index)));
    const longest = `the longest is ${seconds(most)}; clients give up after ${timeout} s`;
    this.begin(`${count(late)} of ${count(sum(silence))} streams are silent beyond the heartbeat; ${longest}`);
    this.each = this.inner / silence.length;
    const y = this.grid(Math.max(...silence));
    silence.forEach((number, index) => this.bar(number, index, number ? Math.min(BASE - 2, y(number)) : BASE));
    this.mark(heartbeat, "heartbeat");
    this.mark(timeout, "clients give up", this.width < NARROW ? 24 : 11);
  }

  start(index) {
    return this.status.silence_bounds[index - 1] ?? 0;
  }

  isLate(index) {
    return this.start(index) >= this.status.heartbeat * LATE;
  }

  bar(number, index, y) {
    const x = LEFT + index * this.each;
    const look = this.isLate(index) ? "bar bad" : "bar";
    this.add("rect", { class: look, x: x + 2, y, width: Math.max(1, this.each - 4), height: BASE - y });
    if (number) this.write(short.format(number), x + this.each / 2, y - 3);
    const bound = this.status.silence_bounds[index];
    if (bound && (index % 2 || this.width >= NARROW)) this.write(String(bound), x + this.each, HEIGHT - 5);
  }

  /** Draw a line at this time. The distance between two bounds is the width of a bar. */
  mark(time, name, y = 11) {
    const bounds = this.status.silence_bounds;
    const index = bounds.findIndex((bound) => bound >= time);
    if (index < 0) return;
    const part = (time - this.start(index)) / (bounds[index] - this.start(index));
    const x = LEFT + (index + part) * this.each;
    this.add("line", { class: "mark", x1: x, x2: x, y1: 2, y2: BASE });
    this.write(`${name} ${time} s`, x - 5, y, "end", "mark-name");
  }
}
