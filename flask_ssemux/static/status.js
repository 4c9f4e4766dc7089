// The status page of flask_ssemux: draws the figures of status/stream or, while there is no stream, of status.json.
//
// Here are tiles, tables and the connection. status_charts.js draws the charts, status_history.js keeps earlier figures.

import { SSEMux } from "./ssemux.js";
import { LineChart, SilenceChart } from "./status_charts.js";
import { History } from "./status_history.js";
import { byId, bytes, count, element, fillTable, numberOf, rate, seconds, span, whole } from "./status_parts.js";

const SOON = 1_000; // ms without a stream after which status.json is requested
const ASK = 5_000; // ms between two such requests
const STALE = 15; // seconds after which a worker's report is old: a worker makes one every 5 s

const here = (path) => new URL(path, import.meta.url).href;
const history = new History();
const charts = [
  new LineChart("streams", "streams", count),
  new LineChart("delivered", "delivered", rate),
  new LineChart("published", "published", rate),
  new LineChart("errors", "errors", rate, 60),
  new SilenceChart("silence"),
];
let last;
let mux;
let asking;

/** Return whether this silence is longer than the heartbeat interval and its tolerance. */
const isSilent = (longest) => longest > last.heartbeat * 1.05;

// -- tiles ------------------------------------------------------------------------

function drawTiles({ totals, heartbeat }) {
  const { delivered, published } = history.last;
  const about = (name) => (totals[`${name}_exact`] ? "" : "≈ ") + count(totals[name]);
  const away = totals.refused ? `, ${count(totals.refused)} sent away` : "";
  const tiles = [
    ["Streams", count(totals.streams), `${count(totals.workers)} worker${totals.workers === 1 ? "" : "s"}${away}`],
    ["Users", about("users"), "with a stream"],
    ["Channels", about("channels"), "that are read"],
    ["Published", rate(published), "a second"],
    ["Delivered", rate(delivered), "a second"],
    ["Longest silence", seconds(totals.longest_silence), `heartbeat: ${heartbeat} s`, isSilent(totals.longest_silence)],
    ["Deepest queue", count(totals.deepest), `${count(totals.queued)} wait, ${bytes(totals.queued_bytes)}`],
    ["Errors", count(totals.errors), totals.errors ? "since the start" : "none", history.hasErrors],
    [
      "Late loops",
      count(totals.late),
      totals.late ? `by ${seconds(totals.longest_late)} at most` : "none blocked",
      history.hasBeenLate,
    ],
  ];
  const made = tiles.map(([name, value, more, bad]) =>
    element(
      "div",
      { "data-bad": bad ? "" : undefined },
      element("dt", {}, name),
      element("dd", {}, (bad ? "⚠ " : "") + value),
      element("dd", {}, more),
    ),
  );
  byId("tiles").replaceChildren(...made);
}

// -- charts -----------------------------------------------------------------------

const whose = byId("whose");
const range = byId("range");

/** List the workers in the choice, unless they are the same as before: the list may be open. */
function listWorkers({ workers }) {
  const names = workers.map(({ name }) => name);
  if (
    names.join() ===
    [...whose.options]
      .slice(1)
      .map(({ value }) => value)
      .join()
  )
    return;
  const chosen = whose.value;
  const options = workers.map(({ name, pid, host }) =>
    element("option", { value: name }, pid ? `worker ${pid} on ${host}` : name),
  );
  whose.replaceChildren(whose.options[0], ...options);
  whose.value = names.includes(chosen) ? chosen : "";
}

function drawCharts() {
  const points = history.pointsOf(whose.value);
  const worker = last.workers.find(({ name, silence }) => name === whose.value && silence);
  const shown = { points, most: Number(range.value), status: last, figures: worker ?? last.totals };
  for (const chart of charts) chart.draw(shown);
}

for (const choice of [whose, range]) choice.addEventListener("change", () => last && drawCharts());

// -- tables -----------------------------------------------------------------------

/** The table of workers: each column's name, and what the column shows of a worker. */
const COLUMNS = {
  Worker: ({ pid, name }) => String(pid ?? name),
  Host: ({ host }) => host ?? "?",
  Streams: ({ streams }) => count(streams ?? 0),
  Users: ({ users }) => count(users ?? 0),
  Channels: ({ channels }) => count(channels ?? 0),
  "Delivered/s": ({ name }) => rate(history.rateOf(name)),
  Published: ({ published }) => count(published ?? 0),
  Queue: ({ deepest }) => count(deepest ?? 0),
  Silence: ({ longest_silence: longest = 0 }) => ({ text: seconds(longest), bad: isSilent(longest) }),
  Late: ({ late, longest_late: longest }) => (late ? `${count(late)} (${seconds(longest ?? 0)})` : "0"),
  "Sent away": ({ refused }) => count(numberOf(refused)),
  Errors: ({ errors }) => count(errors ?? 0),
  Memory: ({ memory }) => (memory ? bytes(memory) : "–"),
  Up: ({ started }) => (started ? span(Math.max(0, last.at - started)) : "–"),
  Reported: ({ age }) => ({ text: age < 1 ? "now" : `${span(age)} ago`, bad: age > STALE }),
};

function drawWorkers({ workers }) {
  const rows = workers.map((worker) => Object.values(COLUMNS).map((show) => show(worker)));
  fillTable(byId("workers"), Object.keys(COLUMNS), rows);
}

/** The table of feeds: each column's name, and what the column shows of a feed. */
const FEED_COLUMNS = {
  Channel: ({ channel }) => channel,
  State: ({ state }) => ({ text: state, bad: state === "paused" }),
  Worker: ({ pid, worker }) => String(pid ?? worker),
  Host: ({ host }) => host ?? "?",
  Running: ({ since }) => (since ? span(Math.max(0, last.at - since)) : "–"),
  Restarts: ({ restarts }) => count(restarts ?? 0),
  "Last error": ({ error }) => error || "–",
};

function drawFeeds({ feeds = [] }) {
  byId("feeds-part").hidden = feeds.length === 0;
  const rows = feeds.map((feed) => Object.values(FEED_COLUMNS).map((show) => show(feed)));
  fillTable(byId("feeds"), Object.keys(FEED_COLUMNS), rows);
}

const BROKER = {
  is_reachable: "Reachable",
  broker: "Kind",
  events: "Events kept",
  channels: "Channels kept",
  held: "User slots taken",
  bytes: "Size",
};

function drawBroker({ broker, totals }) {
  const formats = { bytes: bytes, is_reachable: (yes) => (yes ? "yes" : "no") };
  const rows = Object.entries({ ...broker, ...(totals.events === null ? {} : { "newest sequence": totals.events }) });
  const made = rows.flatMap(([name, value]) => {
    const text = formats[name]?.(value) ?? (typeof value === "number" ? whole.format(value) : String(value));
    return [element("dt", {}, BROKER[name] ?? name[0].toUpperCase() + name.slice(1)), element("dd", {}, text)];
  });
  byId("broker").replaceChildren(...made);
  const trouble = byId("trouble");
  trouble.hidden = broker.is_reachable;
  const text = broker.is_reachable
    ? ""
    : `The broker cannot be reached (${broker.trouble}). These figures are of this worker alone.`;
  if (trouble.textContent !== text) trouble.textContent = text;
}

// -- the connection ---------------------------------------------------------------

function draw() {
  if (!last) return;
  document.title = `${count(last.totals.streams)} streams – ssemux status`;
  drawTiles(last);
  listWorkers(last);
  drawCharts();
  drawWorkers(last);
  drawFeeds(last);
  drawBroker(last);
  document.body.dataset.drawn = String(last.at);
}

function showStatus(status) {
  last = status;
  history.addStatus(status);
  draw();
}

function showState(state, text) {
  const line = byId("state");
  line.dataset.state = state;
  if (line.textContent !== text) line.textContent = text;
}

async function fetchStatus() {
  const response = await fetch(here("status.json"), { cache: "no-store" });
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  const status = await response.json();
  if (asking || !last) showStatus(status); // otherwise a stream has opened meanwhile
}

/** Request status.json again and again, while there is no stream. */
function startAsking() {
  if (asking) return;
  const again = async () => {
    await fetchStatus().then(
      () => asking && showState("lost", `No stream: the figures are requested every ${ASK / 1000} s`),
      (error) => asking && showState("lost", `No answer (${error.message}); the figures are old`),
    );
    if (asking) asking = setTimeout(again, ASK);
  };
  asking = setTimeout(again, SOON);
}

function stopAsking() {
  clearTimeout(asking);
  asking = undefined;
}

function connect() {
  mux = new SSEMux(here("status/stream"), { shared: false });
  mux.on("ssemux.status", (status) => {
    stopAsking();
    showState("live", "Live");
    showStatus(status);
  });
  for (const state of ["connecting", "stale"]) mux.on(`ssemux.${state}`, startAsking);
  mux.on("ssemux.error", ({ message, final }) => {
    showState("lost", `${message}${final ? "" : "; the page tries again"}`);
    if (!final) startAsking();
  });
}

const button = byId("pause");
const isPaused = () => button.getAttribute("aria-pressed") === "true";

button.addEventListener("click", () => {
  button.setAttribute("aria-pressed", String(!isPaused()));
  if (!isPaused()) return connect();
  mux?.close();
  stopAsking();
  return showState("paused", "Paused");
});

new ResizeObserver(draw).observe(byId("charts"));
fetchStatus()
  .catch((error) => isPaused() || showState("lost", `No figures: ${error.message}`))
  .finally(() => isPaused() || mux || connect()); // the user may have pressed the button meanwhile
