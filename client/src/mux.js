// SSEMux: gives the page each event once. How events arrive is decided in link.js and tabs.js.

import { isBehind, OWN, split } from "./cursor.js";
import { Channel, Emitter, Message } from "./emitter.js";
import { Link } from "./link.js";
import { mayShare, Tabs } from "./tabs.js";

/** The page's view of its channels. The channel "" stands for the user's own channel and for "*". */
export class SSEMux extends Emitter {
  #channels = new Map();
  #sequences = new Map(); // by channel: the last sequence that the page got; undefined before the first event
  #joins = new Map(); // by channel: the request for its opening frames, and the frames that came meanwhile
  #epoch;
  #start; // the sequence at which the page was rendered
  #source;
  #options;
  #planned;
  #isAway;
  #quit = new AbortController();

  constructor(url, options = {}) {
    super();
    this.url = new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href).href;
    this.state = "connecting";
    this.transport = "stream";
    this.#options = options;
    const { lastEventId } = options;
    if (lastEventId !== undefined) [this.#epoch, this.#start] = split(lastEventId);
    this.#sequences.set("", this.#start);
    this.#connect(lastEventId);
    this.#watch();
    this.#plan();
  }

  /** Start to read after a cursor: together with the other tabs, or alone. */
  #connect(lastEventId) {
    const options = this.#options;
    const tell = {
      wanted: () => this.#wanted(),
      opening: (opening) => this.#begin(opening),
      reads: ({ channels, since }) => this.#join(channels, since),
      frame: (frame) => this.#take(frame),
      state: (now) => this.#become(now),
      error: (problem) => this.#fail(problem),
    };
    const dial = (to, cursor) => new Link(this.url, { ...options, lastEventId: cursor }, to);
    let tabs;
    try {
      if (mayShare(options)) tabs = new Tabs(JSON.stringify([OWN, this.url, options.user]), dial, tell, lastEventId);
    } catch {} // The browser forbids locks and channels: cookies are blocked, or the page is in a sandbox.
    this.#source = tabs ?? dial(tell, lastEventId);
  }

  channel(name) {
    let channel = this.#channels.get(name);
    if (!channel) {
      channel = new Channel(name, () => this.#leave(name));
      this.#channels.set(name, channel);
      this.#sequences.set(name, this.#start);
      this.#plan();
    }
    return channel;
  }

  close() {
    this.#become({ state: "closed" });
  }

  #leave(name) {
    this.#channels.delete(name);
    this.#sequences.delete(name);
    const join = this.#joins.get(name);
    this.#joins.delete(name);
    if (![...this.#joins.values()].includes(join)) join?.link.close();
    this.#plan();
  }

  #plan() {
    if (this.#planned) return;
    this.#planned = true;
    setTimeout(() => {
      this.#planned = false;
      this.#start = undefined;
      if (this.state !== "closed") this.#source.want(this.#wanted());
    });
  }

  #wanted() {
    const channels = [...this.#sequences.keys()];
    return { channels, fresh: channels.filter((name) => this.#isFresh(name)) };
  }

  #isFresh(name) {
    return this.#sequences.has(name) && this.#sequences.get(name) === undefined && !this.#joins.has(name);
  }

  #watch() {
    const { document } = globalThis;
    const on = (where, event, act) => where?.addEventListener?.(event, act, { signal: this.#quit.signal });
    on(globalThis, "online", () => this.#source.wake(true));
    on(document, "visibilitychange", () => document.hidden || this.#return() || this.#source.wake());
    on(globalThis, "pagehide", () => this.#leavePage());
    on(document, "freeze", () => this.#leavePage());
    on(globalThis, "pageshow", () => this.#return());
    on(document, "resume", () => this.#return());
  }

  /** The browser freezes the page: it gives up its connection and its lock, which other tabs may wait for. */
  #leavePage() {
    this.#isAway = true;
    this.#source.close();
    for (const { link } of this.#joins.values()) link.close();
    this.#become({ state: "connecting" });
  }

  /** The page is shown again: it continues after the last event that it got. */
  #return() {
    if (!this.#isAway) return;
    this.#isAway = false;
    this.#connect(this.#source.cursor);
    for (const { ask } of new Set(this.#joins.values())) ask();
    this.#plan();
  }

  #take(frame) {
    const { event, data, id, channel = "" } = frame;
    if (this.state === "closed") return;
    const sequence = this.#sequenceOf(id);
    if (event.startsWith(OWN)) return this.#own(event, JSON.parse(data));
    if (this.#joins.has(channel)) return this.#joins.get(channel).rest.push(frame);
    const had = this.#sequences.get(channel);
    if (had === undefined || sequence <= had) return;
    if (sequence !== undefined) this.#sequences.set(channel, sequence);
    return (this.#channels.get(channel) ?? this).emit(event, new Message(frame));
  }

  /** The sequence of an id. If its epoch is new, the sequences known so far say nothing about it. */
  #sequenceOf(id) {
    if (!id?.includes("-")) return;
    const [epoch, sequence] = split(id);
    if (epoch !== this.#epoch) {
      for (const [name, had] of this.#sequences) if (had !== undefined) this.#sequences.set(name, -1);
      this.#epoch = epoch;
    }
    return sequence;
  }

  /** A stream's opening frames are the beginning of the channels that are new. */
  #begin({ fresh, frames, id }) {
    const begun = fresh.filter((name) => this.#isFresh(name));
    for (const name of begun) this.#sequences.set(name, -1);
    for (const frame of frames) this.#take(frame);
    const sequence = this.#sequenceOf(id);
    for (const name of begun) if (this.#sequences.get(name) === -1) this.#sequences.set(name, sequence);
  }

  /** Other tabs read these channels already: this tab requests their opening frames by itself. */
  #join(read, since) {
    const names = read.filter((name) => this.#isFresh(name));
    if (!names.length || this.state === "closed") return;
    const url = new URL(this.url);
    url.searchParams.set("poll", "now");
    const opening = ({ frames, id }) => {
      const fresh = names.filter((name) => this.#joins.get(name) === join);
      join.link.close();
      for (const name of fresh) this.#joins.delete(name);
      const first = frames.filter(({ channel = "" }) => fresh.includes(channel));
      const told = new Set(first.map(({ channel }) => channel).filter(Boolean));
      const isNew = (frame) => !told.has(frame.channel) && this.#sequenceOf(frame.id) > split(since)[1];
      const from = isBehind(since, id) ? since : id; // a leader that was cut off has yet to pass on the rest
      this.#begin({
        fresh,
        frames: [...first.map((frame) => ({ ...frame, id: "" })), ...join.rest.filter(isNew)],
        id: from,
      });
      for (const name of told) this.#sequences.set(name, this.#sequenceOf(id));
      for (const frame of join.rest) this.#take(frame);
    };
    const tell = {
      opening,
      state() {},
      error: (problem) => this.#fail(problem),
      isSpared: () => true,
    };
    const ask = () => {
      join.link = new Link(url, { ...this.#options, lastEventId: undefined }, tell);
      join.link.want({ channels: names, fresh: names });
    };
    const join = { rest: [], ask };
    for (const name of names) this.#joins.set(name, join);
    ask();
  }

  #own(event, told) {
    if (event !== OWN + "reset") return event !== OWN + "hello" && this.emit(event, told);
    const isNamed = (name) => name !== "*" && !name.startsWith("user:");
    const channels = told.channels.filter((name) => !isNamed(name) || this.#channels.has(name));
    if (!channels.length) return;
    for (const name of channels) {
      const key = isNamed(name) ? name : "";
      if (this.#sequences.get(key) !== undefined) this.#sequences.set(key, -1);
      this.#channels.get(name)?.emit(event, { ...told, channels: [name] });
    }
    this.emit(event, { ...told, channels });
  }

  #become({ state, transport = this.transport }) {
    if (this.state === "closed" || (state === this.state && transport === this.transport)) return;
    Object.assign(this, { state, transport });
    if (state === "closed") {
      this.#quit.abort();
      this.#source.close();
      for (const { link } of this.#joins.values()) link.close();
    }
    this.emit(OWN + state, { state, transport });
  }

  #fail(problem) {
    const { channel } = problem;
    if (channel !== undefined && !problem.final && !this.#channels.has(channel)) return;
    this.#channels.get(channel)?.emit(OWN + "error", problem);
    this.emit(OWN + "error", problem);
    if (problem.final) this.close();
    else if (channel !== undefined) this.#leave(channel);
  }
}
