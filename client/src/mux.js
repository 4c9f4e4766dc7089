// SSEMux: gives the page each event once. How events arrive is decided in link.js and tabs.js.

import { isBehind, OWN, split } from "./cursor.js";
import { Channel, Emitter, Message } from "./emitter.js";
import { Link } from "./link.js";
import { mayShare, Tabs } from "./tabs.js";

/** Channel "" is the user's own and everyone's. */
export class SSEMux extends Emitter {
  #channels = new Map();
  #places = new Map(); // by channel: what the page has of it; undefined: nothing yet
  #joins = new Map(); // by channel: what asks for its beginning, and what came since
  #epoch;
  #start; // where the page was rendered
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
    this.#places.set("", this.#start);
    this.#connect(lastEventId);
    this.#watch();
    this.#plan();
  }

  /** Begin after a cursor, with the other tabs or alone. */
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
    } catch {} // the browser forbids it: cookies are blocked, or the page is in a sandbox
    this.#source = tabs ?? dial(tell, lastEventId);
  }

  channel(name) {
    let channel = this.#channels.get(name);
    if (!channel) {
      channel = new Channel(name, () => this.#leave(name));
      this.#channels.set(name, channel);
      this.#places.set(name, this.#start);
      this.#plan();
    }
    return channel;
  }

  close() {
    this.#become({ state: "closed" });
  }

  #leave(name) {
    this.#channels.delete(name);
    this.#places.delete(name);
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
    const channels = [...this.#places.keys()];
    return { channels, fresh: channels.filter((name) => this.#isFresh(name)) };
  }

  #isFresh(name) {
    return this.#places.has(name) && this.#places.get(name) === undefined && !this.#joins.has(name);
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

  /** A page that the browser puts away keeps nothing that others wait for. */
  #leavePage() {
    this.#isAway = true;
    this.#source.close();
    for (const { link } of this.#joins.values()) link.close();
    this.#become({ state: "connecting" });
  }

  /** It goes on from where it was. */
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
    const place = this.#place(id);
    if (event.startsWith(OWN)) return this.#own(event, JSON.parse(data));
    if (this.#joins.has(channel)) return this.#joins.get(channel).rest.push(frame);
    const had = this.#places.get(channel);
    if (had === undefined || place <= had) return;
    if (place !== undefined) this.#places.set(channel, place);
    return (this.#channels.get(channel) ?? this).emit(event, new Message(frame));
  }

  /** An event's place; those of another history say nothing about it. */
  #place(id) {
    if (!id?.includes("-")) return;
    const [epoch, place] = split(id);
    if (epoch !== this.#epoch) {
      for (const [name, had] of this.#places) if (had !== undefined) this.#places.set(name, -1);
      this.#epoch = epoch;
    }
    return place;
  }

  /** What a stream says first: channels that are new begin with that. */
  #begin({ fresh, frames, id }) {
    const begun = fresh.filter((name) => this.#isFresh(name));
    for (const name of begun) this.#places.set(name, -1);
    for (const frame of frames) this.#take(frame);
    const place = this.#place(id);
    for (const name of begun) if (this.#places.get(name) === -1) this.#places.set(name, place);
  }

  /** Others read these: we ask for their beginning, until we have it. */
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
      const isNew = (frame) => !told.has(frame.channel) && this.#place(frame.id) > split(since)[1];
      const from = isBehind(since, id) ? since : id; // a cut leader has yet to pass on the rest
      this.#begin({
        fresh,
        frames: [...first.map((frame) => ({ ...frame, id: "" })), ...join.rest.filter(isNew)],
        id: from,
      });
      for (const name of told) this.#places.set(name, this.#place(id));
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
      if (this.#places.get(key) !== undefined) this.#places.set(key, -1);
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
