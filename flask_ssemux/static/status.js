// The status page of flask_ssemux: draws what status/stream tells, and while there is no stream, what status.json says.
//
// Numbers, elements, tiles, charts, tables, and at the end the connection. Nothing from elsewhere, and no HTML made of
// text: what workers say is always put in as text. What was before is kept by status_history.js.

import { SSEMux } from "./ssemux.js";
import { History } from "./status_history.js";

const SOON = 1_000; // ms without a stream until it is asked for by question
const ASK = 5_000; // ms between two questions
const STALE = 15; // seconds after which a worker's report is old: it makes one every 5
const SVG = "http://www.w3.org/2000/svg";

const byId = (id) => document.getElementById(id);
const here = (path) => new URL(path, import.meta.url).href;

// -- numbers for people -----------------------------------------------------------

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const rate = (value) => (value === undefined ? "–" : value < 10 ? String(+value.toFixed(1)) : short.format(value));
const count = (value) => (value < 100_000 ? whole.format(value) : short.format(value));
const seconds = (value) => `${value < 10 ? +value.toFixed(1) : Math.round(value)} s`;

function span(value) {
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60]]) if (value >= 2 * size) return `${Math.floor(value / size)} ${unit}`;
  return `${Math.floor(value)} s`;
}

function bytes(value) {
  const power = Math.min(3, Math.floor(Math.log2(Math.max(1, value)) / 10));
  return `${+(value / 1024 ** power).toFixed(power ? 1 : 0)} ${["bytes", "KB", "MB", "GB"][power]}`;
}

const sum = (values) => values.reduce((total, value) => total + value, 0);
const numberOf = (value) => (value && typeof value === "object" ? sum(Object.values(value)) : value ?? 0);

// -- making elements --------------------------------------------------------------

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value !== false && value !== undefined) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function shape(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, typeof value === "number" ? +value.toFixed(1) : value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function fillTable(table, heads, rows) {
  const head = element("tr", {}, ...heads.map((text) => element("th", { scope: "col" }, text)));
  const cell = (it, index) => {
    const { text = it, bad } = it ?? {};
    return index ? element("td", { "data-bad": bad ? "" : undefined }, (bad ? "⚠ " : "") + text) : element("th", { scope: "row" }, text);
  };
  const body = rows.map((row) => element("tr", {}, ...row.map(cell)));
  table.replaceChildren(element("thead", {}, head), element("tbody", {}, ...body));
}

// -- tiles ------------------------------------------------------------------------

function drawTiles({ totals, heartbeat }) {
  const { delivered, published } = history.last;
  const about = (name) => (totals[`${name}_exact`] ? "" : "≈ ") + count(totals[name]);
  const silent = totals.longest_silence > heartbeat * 1.05;
  const tiles = [
    ["Streams", count(totals.streams), `${count(totals.workers)} worker${totals.workers === 1 ? "" : "s"}, ${count(totals.refused)} sent away`],
    ["Users", about("users"), "with a stream"],
    ["Channels", about("channels"), "that are read"],
    ["Published", rate(published), "a second"],
    ["Delivered", rate(delivered), "a second"],
    ["Longest silence", seconds(totals.longest_silence), `heartbeat: ${heartbeat} s`, silent],
    ["Deepest queue", count(totals.deepest), `${count(totals.queued)} wait, ${bytes(totals.queued_bytes)}`],
    ["Late hearts", count(totals.late), totals.late ? `by ${seconds(totals.longest_late)} at most` : "none was blocked", totals.late > 0],
  ];
  const made = tiles.map(([name, value, more, bad]) =>
    element("div", { "data-bad": bad ? "" : undefined }, element("dt", {}, name), element("dd", {}, (bad ? "⚠ " : "") + value), element("dd", {}, more)),
  );
  byId("tiles").replaceChildren(...made);
}

// -- charts -----------------------------------------------------------------------

const SPANS = [60, 120, 240, 600]; // seconds from left to right, as far as there is a history
const HEIGHT = 170;
const EDGE = { left: 46, right: 8, top: 14, bottom: 22 };

/** A figure's drawing, anew; its words; and its table, which is made when it is open. */
class Chart {
  constructor(id, heads, rows) {
    this.figure = byId(id);
    this.title = this.figure.querySelector("figcaption").textContent;
    this.svg = shape("svg", { role: "img" });
    this.table = element("table");
    this.heads = heads;
    this.rows = rows;
    const scroll = element("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": `${this.title}, as a table` }, this.table);
    this.details = element("details", {}, element("summary", {}, "As a table"), scroll);
    this.details.addEventListener("toggle", () => this.tabulate());
    this.figure.append(this.svg, this.details);
  }

  /** An empty drawing of the figure's width, and what it says in words. */
  begin(words) {
    this.width = Math.max(200, this.svg.clientWidth || 400);
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${HEIGHT}`);
    this.svg.setAttribute("aria-label", `${this.title}: ${words}`);
    this.svg.replaceChildren();
    this.tabulate();
  }

  tabulate() {
    if (this.details.open) fillTable(this.table, this.heads, this.rows());
  }

  add(name, attributes, text) {
    this.svg.append(shape(name, attributes, text));
  }

  /** Lines at nought, half and all of a round number that is enough. */
  grid(highest, say) {
    const top = roundUp(highest);
    const y = (value) => HEIGHT - EDGE.bottom - (value / top) * (HEIGHT - EDGE.top - EDGE.bottom);
    for (const value of [0, top / 2, top]) {
      this.add("line", { class: "grid", x1: EDGE.left, x2: this.width - EDGE.right, y1: y(value), y2: y(value) });
      this.add("text", { x: EDGE.left - 6, y: y(value) + 4, "text-anchor": "end" }, say(value));
    }
    return y;
  }
}

/** 1, 2 or 5 and zeros; even, so that its half is a number too. */
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return Math.max(2, [1, 2, 5, 10].find((step) => step * power >= value) * power);
}

function lineChart(id, key, name, say) {
  const clock = (at) => new Date(at * 1000).toLocaleTimeString("en-GB");
  const points = () => history.points.filter((one) => one[key] !== undefined);
  const chart = new Chart(id, ["Time", name], () => {
    const all = points();
    const every = Math.ceil(all.length / 30);
    return all.filter((_, index) => (all.length - 1 - index) % every === 0).reverse().map((one) => [clock(one.at), say(one[key])]);
  });
  return () => {
    const all = points();
    const now = history.last.at;
    const wide = SPANS.find((one) => one >= now - history.points[0].at) ?? SPANS[SPANS.length - 1];
    if (!all.length) return chart.begin("nothing yet");
    const values = all.map((one) => one[key]);
    const [low, high, last] = [Math.min(...values), Math.max(...values), values[values.length - 1]];
    chart.begin(`now ${say(last)}; in the last ${span(wide)} between ${say(low)} and ${say(high)}`);
    const y = chart.grid(high, (value) => short.format(value));
    const x = (at) => chart.width - EDGE.right - ((now - at) / wide) * (chart.width - EDGE.left - EDGE.right);
    for (const [part, anchor] of [[1, "start"], [0.5, "middle"], [0, "end"]])
      chart.add("text", { x: x(now - part * wide), y: HEIGHT - 5, "text-anchor": anchor }, part ? `${span(part * wide)} ago` : "now");
    const path = all.map((one) => `${x(one.at).toFixed(1)},${y(one[key]).toFixed(1)}`);
    const ends = [x(all[0].at).toFixed(1), x(all[all.length - 1].at).toFixed(1)];
    chart.add("polygon", { class: "filled", points: [`${ends[0]},${y(0)}`, ...path, `${ends[1]},${y(0)}`].join(" ") });
    chart.add("polyline", { class: "drawn", points: path.join(" ") });
    return undefined;
  };
}

function silenceChart() {
  let told = { totals: { silence: [] }, silence_bounds: [] };
  const names = () => [...told.silence_bounds.map((bound, index) => `${told.silence_bounds[index - 1] ?? 0} to ${bound} s`), `over ${told.silence_bounds[told.silence_bounds.length - 1]} s`];
  const chart = new Chart("silence", ["Silent for", "Streams"], () => told.totals.silence.map((number, index) => [names()[index], count(number)]));
  return (news) => {
    told = news;
    const { totals, silence_bounds: bounds, heartbeat, client_timeout: timeout } = told;
    const beyond = sum(totals.silence.filter((_, index) => (bounds[index - 1] ?? 0) >= heartbeat * 1.05));
    chart.begin(`of ${count(sum(totals.silence))} streams ${count(beyond)} are silent for longer than the heartbeat of ${heartbeat} s; the longest is ${seconds(totals.longest_silence)}; clients give up after ${timeout} s`);
    const y = chart.grid(Math.max(...totals.silence), (value) => short.format(value));
    const each = (chart.width - EDGE.left - EDGE.right) / totals.silence.length;
    const x = (index) => EDGE.left + index * each;
    totals.silence.forEach((number, index) => {
      const bad = (bounds[index - 1] ?? 0) >= heartbeat * 1.05;
      const height = number ? Math.max(2, y(0) - y(number)) : 0;
      chart.add("rect", { class: bad ? "bar bad" : "bar", x: x(index) + 2, y: y(0) - height, width: Math.max(1, each - 4), height });
      if (number) chart.add("text", { x: x(index) + each / 2, y: y(0) - height - 3, "text-anchor": "middle" }, short.format(number));
      if (index < bounds.length) chart.add("text", { x: x(index + 1), y: HEIGHT - 5, "text-anchor": "middle" }, bounds[index]);
    });
    /** Where a time is between the bounds, each of which is as far from the next. */
    const place = (time) => {
      const index = bounds.findIndex((bound) => bound >= time);
      const start = bounds[index - 1] ?? 0;
      return index < 0 ? undefined : x(index) + ((time - start) / (bounds[index] - start)) * each;
    };
    for (const [time, name] of [[heartbeat, "heartbeat"], [timeout, "clients give up"]]) {
      const at = place(time);
      if (at === undefined) continue;
      chart.add("line", { class: "mark", x1: at, x2: at, y1: 2, y2: y(0) });
      chart.add("text", { class: "mark-name", x: at - 5, y: 11, "text-anchor": "end" }, `${name} ${time} s`);
    }
  };
}

// -- tables -----------------------------------------------------------------------

function drawWorkers({ workers: told, teller, heartbeat, at, report_seconds: every }) {
  const heads = ["Worker", "Host", "Streams", "Users", "Channels", "Delivered/s", "Published", "Queue", "Silence", "Late", "Sent away", "Memory", "Up", "Heard of"];
  const rows = told.map((one) => [
    `${one.pid ?? one.name}${one.name === teller ? " (tells this)" : ""}`,
    one.host ?? "?",
    count(one.streams ?? 0),
    count(one.users ?? 0),
    count(one.channels ?? 0),
    rate(history.rateOf(one.name)),
    count(one.published ?? 0),
    count(one.deepest ?? 0),
    { text: seconds(one.longest_silence ?? 0), bad: one.longest_silence > heartbeat * 1.05 },
    one.late ? { text: `${count(one.late)} (${seconds(one.longest_late ?? 0)})`, bad: true } : "0",
    count(numberOf(one.refused)),
    one.memory ? bytes(one.memory) : "–",
    one.started ? span(Math.max(0, at - one.started)) : "–",
    { text: one.age < 1 ? "now" : `${span(one.age)} ago`, bad: one.age > STALE },
  ]);
  fillTable(byId("workers"), heads, rows);
  byId("workers-note").textContent = `Worker: its process id. Queue: frames that wait for its slowest client. Silence: the longest since a stream’s last byte. Late: how often its loop was blocked for a second or more. Each reports every ${every} s, the one that this page is connected to more often; a worker is here from its first stream on.`;
}

const BROKER = { is_reachable: "Reachable", broker: "Kind", events: "Events kept", channels: "Channels kept", held: "Places held by users", bytes: "Size" };

function drawBroker({ broker, totals }) {
  const said = { bytes: bytes, is_reachable: (yes) => (yes ? "yes" : "no") };
  const rows = Object.entries({ ...broker, ...(totals.events === null ? {} : { "events in all": totals.events }) });
  const made = rows.flatMap(([name, value]) => {
    const text = said[name]?.(value) ?? (typeof value === "number" ? whole.format(value) : String(value));
    return [element("dt", {}, BROKER[name] ?? name[0].toUpperCase() + name.slice(1)), element("dd", {}, text)];
  });
  byId("broker").replaceChildren(...made);
  const trouble = byId("trouble");
  trouble.hidden = broker.is_reachable;
  const text = broker.is_reachable ? "" : `The broker cannot be reached (${broker.trouble}). What follows is of this worker alone.`;
  if (trouble.textContent !== text) trouble.textContent = text;
}

// -- the connection ---------------------------------------------------------------

const history = new History();
const charts = [
  lineChart("streams", "streams", "Streams", count),
  lineChart("delivered", "delivered", "Delivered a second", rate),
  lineChart("published", "published", "Published a second", rate),
  silenceChart(),
];
let last;
let mux;
let asking;

function draw() {
  if (!last) return;
  document.title = `${count(last.totals.streams)} streams – ssemux status`;
  drawTiles(last);
  for (const chart of charts) chart(last);
  drawWorkers(last);
  drawBroker(last);
  document.body.dataset.drawn = String(last.at);
}

function show(told) {
  if (last && told.at <= last.at) return;
  last = told;
  history.take(told);
  draw();
}

function say(state, text) {
  const place = byId("state");
  place.dataset.state = state;
  if (place.textContent !== text) place.textContent = text;
}

async function ask() {
  const response = await fetch(here("status.json"), { cache: "no-store" });
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  show(await response.json());
}

/** While there is no stream. */
function askNowAndThen() {
  if (asking) return;
  const again = async () => {
    await ask().then(
      () => asking && say("lost", `No stream: asked every ${ASK / 1000} s`),
      (error) => asking && say("lost", `No answer (${error.message}); the figures are old`),
    );
    if (asking) asking = setTimeout(again, ASK);
  };
  asking = setTimeout(again, SOON);
}

function askNoMore() {
  clearTimeout(asking);
  asking = undefined;
}

function connect() {
  mux = new SSEMux(here("status/stream"), { shared: false });
  mux.on("ssemux.status", (told) => {
    askNoMore();
    say("live", "Live");
    show(told);
  });
  for (const state of ["connecting", "stale"]) mux.on(`ssemux.${state}`, askNowAndThen);
  mux.on("ssemux.error", ({ message, final }) => {
    say("lost", `${message}${final ? "" : "; it is tried again"}`);
    if (!final) askNowAndThen();
  });
}

byId("pause").addEventListener("click", ({ currentTarget: button }) => {
  const pauses = button.getAttribute("aria-pressed") === "false";
  button.setAttribute("aria-pressed", String(pauses));
  if (!pauses) return connect();
  mux.close();
  askNoMore();
  return say("paused", "Paused");
});

new ResizeObserver(draw).observe(byId("charts"));
ask().catch((error) => say("lost", `No figures: ${error.message}`)).finally(connect);
