// Run: reads what one run of the server yields, from its beginning to its end. A POST that starts a run is sent once.

import { isBehind, OWN } from "./cursor.js";
import { Emitter, Message } from "./emitter.js";
import { Link } from "./link.js";
import { resolveURL, watchPage } from "./page.js";
import { Request } from "./request.js";

const SILENCE = 120_000; // ms without a byte after which the answer to the POST is given up, which has no heartbeats
const INCOMPLETE = ["failed", "lost"];
const SPREAD = 2_000; // ms within which clients whose POST was cut come back, each at a time of its own

/**
 * One run: an emitter of its events, and an async iterator over them.
 *
 * A POST is answered with the run's events. After it was cut, or if it was answered otherwise, a Link reads at the run's
 * URL, by GET.
 */
export class Run extends Emitter {
  state = "connecting";
  url; // where the run is read; known when the answer to the POST has begun
  #startURL; // where the POST goes
  #options;
  #post; // the Request by POST, until it ends
  #link;
  #cursor; // of the newest event that the page has
  #kept = []; // what was not iterated over yet; undefined if the page listens instead
  #isIterated;
  #wake; // lets the iterator look again
  #problem; // what the iterator throws at its end
  #isSuspended;
  #silenceTimer;
  #pause; // ms from the end of the POST's answer until the GET
  #abort = new AbortController(); // aborted when the run has ended or was closed

  constructor(url, options = {}) {
    super();
    this.#options = options;
    this.#cursor = options.lastEventId;
    if ((options.method ?? "GET").toUpperCase() === "GET") this.#read(resolveURL(url));
    else this.#start(resolveURL(url));
    watchPage(
      {
        wake: (mayBeDead) => this.#wakeUp(mayBeDead),
        suspend: () => this.#suspend(),
        resume: () => this.#resume(),
      },
      this.#abort.signal,
    );
  }

  /** The run's id, as the server's `cancel_run` takes it. */
  get id() {
    return this.url && new URL(this.url).pathname.split("/").pop();
  }

  on(event, listener) {
    if (!this.#isIterated && !event.startsWith(OWN)) this.#kept = undefined;
    return super.on(event, listener);
  }

  /** Stop reading. The run itself goes on. */
  close() {
    this.#finish("closed");
  }

  async *[Symbol.asyncIterator]() {
    this.#isIterated = true;
    this.#kept ??= [];
    try {
      for (;;) {
        while (this.#kept.length) yield this.#kept.shift();
        if (this.#isOver) break;
        await new Promise((wake) => (this.#wake = wake));
      }
    } finally {
      this.close();
    }
    if (this.#problem) throw this.#problem;
  }

  get #isOver() {
    return this.#abort.signal.aborted;
  }

  /** Send the POST, and take the events of its answer. */
  #start(url) {
    this.#startURL = new URL(url);
    this.#post = new Request(this.#startURL, [], this.#options, {
      open: (response) => this.#takeAnswer(response),
      byte: () => this.#limitSilence(),
      frame: (_, frame) => this.#takeFrame(frame),
      retry: (milliseconds) => (this.#pause = milliseconds), // no room: the server says when to come back
      end: (_, problem) => this.#endPost(problem),
    });
  }

  #takeAnswer({ headers, redirected, url }) {
    const where = headers.get("Content-Location") ?? (redirected ? url : undefined);
    if (where) this.url = new URL(where, url).href;
    this.#limitSilence();
    this.#changeState("open");
  }

  #limitSilence() {
    clearTimeout(this.#silenceTimer);
    this.#silenceTimer = setTimeout(() => this.#wakeUp(true), this.#options.timeout ?? SILENCE);
  }

  /** The answer has ended without the run's end, or is none: go on by GET, since a second POST would start a second run. */
  #endPost(problem = { message: "the answer ended before the run" }) {
    this.#post = undefined;
    clearTimeout(this.#silenceTimer);
    if (problem.url) return this.#read(new URL(problem.url, this.#startURL).href);
    this.#report({ ...problem, final: !this.url });
    if (this.#isOver) return;
    this.#changeState("connecting");
    setTimeout(() => this.#read(this.url), this.#pause ?? Math.random() * SPREAD);
  }

  /** Read by GET, from the newest event that the page has. */
  #read(url) {
    this.url = url;
    if (this.#link || this.#isSuspended || this.#isOver) return;
    const options = { ...this.#options, method: undefined, body: undefined, lastEventId: this.#cursor };
    this.#link = new Link(url, options, {
      opening: ({ frames }) => frames.forEach((frame) => this.#takeFrame(frame)),
      frame: (frame) => this.#takeFrame(frame),
      state: ({ state }) => this.#changeState(state),
      error: (problem) => this.#report(problem),
    });
    this.#link.want({ channels: [], fresh: [] });
  }

  /** The network or the page is back. The connection of a POST may be dead without a sign. */
  #wakeUp(mayBeDead) {
    this.#link?.wake(mayBeDead);
    if (!this.#post || !this.url || !mayBeDead) return;
    this.#post.end();
    this.#endPost({ message: "the connection may be dead" });
  }

  #suspend() {
    if (!this.url) return; // a POST that is not answered yet
    this.#isSuspended = true;
    this.#post?.end();
    this.#link?.close();
    this.#post = this.#link = undefined;
    this.#changeState("connecting");
  }

  #resume() {
    if (!this.#isSuspended) return;
    this.#isSuspended = false;
    this.#read(this.url);
  }

  #takeFrame(frame) {
    const { event, data, id } = frame;
    if (this.#isOver) return;
    if (event.startsWith(OWN)) return this.#takeOwnEvent(event.slice(OWN.length), JSON.parse(data));
    if (id && this.#cursor && !isBehind(this.#cursor, id)) return; // the page has had it
    this.#cursor = id || this.#cursor;
    const message = new Message(frame);
    this.#kept?.push(message);
    this.#wake?.();
    this.emit(event, message);
  }

  #takeOwnEvent(name, detail) {
    if (name === "hello") return;
    if (name === "run") this.#end(detail);
    if (name === "reset" && this.#kept) this.#fail({ message: `events of the run were lost (${detail.reason})` });
    this.emit(OWN + name, detail);
  }

  #end({ state, error = `the run is ${state}` }) {
    if (INCOMPLETE.includes(state)) this.#problem = Object.assign(new Error(error), { state });
    this.#finish(state);
  }

  #report(problem) {
    if (problem.final) this.#fail(problem);
    this.emit(OWN + "error", problem);
  }

  #fail(problem) {
    this.#problem = Object.assign(new Error(problem.message), problem);
    this.#finish("closed");
  }

  #finish(state) {
    if (this.#isOver) return;
    this.#changeState(state);
    this.#abort.abort();
    clearTimeout(this.#silenceTimer);
    this.#post?.end();
    this.#link?.close();
    this.#wake?.();
  }

  #changeState(state) {
    if (this.#isOver || state === this.state) return;
    this.state = state;
    this.emit(OWN + state, { state, url: this.url });
  }
}
