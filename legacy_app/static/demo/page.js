/*
 * The demo page: lanes that show a stream each, the upload, and the button that cuts them.
 *
 * What happened is told by the page's own client (jobsMux.js), over a connection that is never cut; each lane is held
 * to it. Text goes into the document as text only: names of files are hostile input.
 */
import { JobsApi } from "../jobsMux.js";
import { Check } from "./check.js";
import { Happened, Ledger } from "./ledger.js";
import { showQueries } from "./queries.js";
import { Reader } from "./reader.js";
import { Timeline, bytes } from "./timeline.js";

const GRACE = 2000; // ms after a return within which all that was missed has to be told
const LUMP = 5; // changes in one piece that are worth a word
const SAMPLE_ROWS = 600;
const { t, count, message } = Texts;
const STATES = { asking: "asked, no answer yet", open: "open", away: "cut off, coming back" };

const ports = document.getElementById("lanes").dataset;
const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
const limits = { heartbeat: 20_000, timeout: 120_000 }; // until a stream says what they are
const happened = new Happened();
const api = new JobsApi({ user: ports.user });
const seconds = (milliseconds) => `${Texts.tenths(milliseconds / 1000)} s`;

/** A number of things: English and German have the same two forms. */
const plural = (number, one, many) => t(number === 1 ? one : many, { count: count(number) });
const changes = (number) => plural(number, "{count} change", "{count} changes");

/** One stream: read, drawn, and held to what happened. */
class Lane {
  #ledger;
  #size = 0;
  #chunks = 0;
  #beats = 0;
  #away; // since it was cut: what it had missed before, and all it is to catch up with

  constructor(element) {
    this.element = element;
    this.#ledger = new Ledger(happened, element.id.startsWith("feed"));
    this.timeline = new Timeline(this.#part(".timeline"));
    this.reader = new Reader(addressOf(element), limits, {
      asked: () => this.#asked(),
      opened: () => this.#opened(),
      chunk: (chunk) => this.#chunk(chunk),
      lost: (words) => this.#lost(words),
    });
  }

  cut() {
    if (!this.#away) this.#away = { since: performance.now(), before: this.#ledger.missing, twice: this.#ledger.twice };
    this.reader.cut("");
  }

  draw() {
    this.reader.look();
    this.timeline.draw();
    this.#drawSilence();
    const told = this.#ledger.due.length - this.#ledger.missing.length;
    this.#write(
      ".lane-figures",
      [
        `${plural(this.#chunks, "{count} chunk", "{count} chunks")}, ${bytes(this.#size)}`,
        t("told {told} of {changes}", { told: count(told), changes: changes(this.#ledger.due.length) }),
        plural(this.#beats, "{count} heartbeat", "{count} heartbeats"),
      ].join(" · "),
    );
  }

  #asked() {
    this.#become("asking");
    if (this.#away) this.#away.asked = performance.now();
    this.timeline.moment("request", t("the browser asks"));
    this.timeline.beginBand("waiting");
  }

  #opened() {
    this.#become("open");
    this.timeline.endBand();
    if (!this.#away) return;
    this.#away.back = performance.now();
    this.#away.missed = this.#ledger.missing.filter((job) => !this.#away.before.includes(job));
    this.#away.limit = setTimeout(() => this.#judge(), GRACE);
  }

  #chunk({ size, text, frames }) {
    this.#size += size;
    this.#chunks += 1;
    const lacked = this.#lacks;
    for (const frame of frames) this.#note(frame);
    const kind = this.#lacks < lacked ? "caught" : kindOf(text, frames);
    if (kind === "beat") this.#beats += 1;
    const words = [Texts.clock(new Date()), bytes(size), ...frames.map(nameOf)].join(" · ");
    this.timeline.chunk(kind, size, words, labelOf(frames));
    if (this.#away?.missed && !this.#lacks) this.#judge();
  }

  /** How much of what it missed while it was away is yet to come. */
  get #lacks() {
    return this.#ledger.lacks(this.#away?.missed ?? []).length;
  }

  #note({ event, data }) {
    if (event === "jobs") this.#ledger.list(JSON.parse(data));
    if (event === "job") this.#ledger.change(JSON.parse(data));
    if (event === "ssemux.hello") obey(JSON.parse(data));
  }

  #lost(words) {
    this.#become("away");
    this.timeline.endBand();
    this.timeline.moment("cut", words ? message(words) : t("cut off"));
    clearTimeout(this.#away?.limit);
    if (!words) return;
    delete this.element.dataset.verdict;
    this.#write(".lane-news", message(words));
  }

  /** Was anything lost, was anything told twice, since it was cut? */
  #judge() {
    const { since, asked, back, missed, twice, limit } = this.#away;
    const lost = this.#lacks;
    const again = this.#ledger.twice - twice;
    clearTimeout(limit);
    this.#away = undefined;
    this.element.dataset.verdict = lost || again ? "bad" : "good";
    const took = Math.round(performance.now() - asked);
    const values = { away: seconds(back - since), changes: changes(missed.length), took: count(took), lost, again };
    const caught = again
      ? t("Away for {away}: caught up {changes} in {took} ms, none lost, {again} twice.", values)
      : t("Away for {away}: caught up {changes} in {took} ms, none lost, none twice.", values);
    this.#write(".lane-news", lost ? t("Away for {away}: {lost} of {changes} not told.", values) : caught);
  }

  #drawSilence() {
    const { silence } = this.reader;
    const shown = this.#part(".silence");
    shown.style.setProperty("--full", Math.min(silence / limits.timeout, 1));
    shown.style.setProperty("--beat-at", limits.heartbeat / limits.timeout);
    shown.dataset.level = silence > limits.timeout / 2 ? "bad" : silence > limits.heartbeat * 1.1 ? "late" : "fine";
    const values = { silence: seconds(silence), timeout: count(limits.timeout / 1000) };
    const words = this.reader.isOpen
      ? t("silent for {silence}; clients give up after {timeout} s", values)
      : t("not a byte, nor headers, for {silence}; clients give up after {timeout} s", values);
    this.#write(".lane-silence", words);
  }

  #become(state) {
    this.element.dataset.state = state;
    this.#part(".connection").dataset.state = { asking: "off", open: "live", away: "waiting" }[state];
    this.#write(".connection", t(STATES[state]));
  }

  #part(selector) {
    return this.element.querySelector(selector);
  }

  /** Only if it changed: screen readers read what is written. */
  #write(selector, text) {
    const part = this.#part(selector);
    if (part.textContent !== text) part.textContent = text;
  }
}

function kindOf(text, frames) {
  if (frames.some((frame) => frame.event === "job")) return "event";
  return !frames.length && text.includes(": heartbeat") ? "beat" : "opening";
}

function nameOf({ event, data }) {
  if (event !== "job") return event;
  const job = JSON.parse(data);
  const values = { id: job.id, state: t(job.state), done: count(job.done), lines: count(job.lines) };
  return t("job {id}: {state}, {done} of {lines}", values);
}

function addressOf({ dataset }) {
  const url = new URL(dataset.url, location.href);
  if (dataset.port) url.port = dataset.port;
  return url.href;
}

/** Many changes in one piece are counted; else a chunk's size says more. */
function labelOf(frames) {
  const found = frames.filter((frame) => frame.event === "job").length;
  return found >= LUMP ? `×${found}` : undefined;
}

/** What the server says about its streams. */
function obey({ heartbeat, timeout }) {
  limits.heartbeat = heartbeat * 1000;
  limits.timeout = timeout * 1000;
  for (const place of document.querySelectorAll(".heartbeat")) place.textContent = heartbeat;
}

/* -- the form ------------------------------------------------------------------- */

const page = new AbortController();
const check = new Check(document.getElementById("check"));
const lanes = Array.from(document.querySelectorAll(".lane"), (element) => new Lane(element));
const running = new Set();
let isToCut = false; // as soon as there is something to miss

function say(words) {
  document.getElementById("told").textContent = words;
}

function sample() {
  const rows = Array.from({ length: SAMPLE_ROWS }, (_, number) => `${number},${number * number}`);
  return new File([["number,square", ...rows].join("\n")], "sample.csv");
}

function send() {
  const form = document.getElementById("upload");
  api.send(form.elements.file.files[0] ?? sample(), (problem, job) => {
    if (problem) return say(message(problem));
    form.reset();
    check.follow(job.run);
    return say(t("{name} is being checked.", { name: job.name }));
  });
}

function cutAll() {
  isToCut = false;
  for (const lane of lanes) lane.cut();
}

/** Of a job that runs: without one there is nothing to miss. */
function cut() {
  if (running.size) return cutAll();
  isToCut = true;
  return send();
}

function note(job) {
  happened.note(job);
  running.delete(job.id);
  if (job.state === "running") running.add(job.id);
  if (job.state === "done" || job.state === "failed") say(`${job.name}: ${message(job.message)}.`);
  if (isToCut && running.size) cutAll();
}

function start() {
  if (ports.proxyPort && location.port === ports.proxyPort) location.port = ports.port; // else nothing comes straight
  api.onJob = note;
  api.onNotice = ({ name, message: words }) =>
    say(t("A notice for {user}: {name}: {message}.", { user: ports.user, name, message: message(words) }));
  api.connect();
  showQueries(document.getElementById("queries"), page.signal);
  for (const lane of lanes) lane.reader.run();
  setInterval(() => lanes.forEach((lane) => lane.draw()), still ? 1000 : 100);
  document.getElementById("cut").addEventListener("click", cut);
  document.getElementById("upload").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  addEventListener("pagehide", () => {
    page.abort();
    for (const it of [api, check, ...lanes.map((lane) => lane.reader)]) it.close();
  });
  addEventListener("pageshow", (event) => event.persisted && location.reload());
}

start();
