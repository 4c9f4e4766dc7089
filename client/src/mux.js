// SSEMux: the object that a page uses. It gives the page each event once; link.js and tabs.js decide how events arrive.

import { isBehind, OWN, splitCursor } from "./cursor.js";
import { Channel, Emitter, Message } from "./emitter.js";
import { Link } from "./link.js";
import { resolveURL, watchPage } from "./page.js";
import { readHeaders } from "./request.js";
import { Run } from "./run.js";
import { mayShare, Tabs } from "./tabs.js";

/** In the maps by channel, "" stands for the events of the user and of everyone, which `SSEMux` itself emits. */
export class SSEMux extends Emitter {
  #channels = new Map();
  #sequences = new Map(); // by channel: the newest sequence that the page has; undefined if the channel is new
  #joins = new Map(); // by channel: the request for its first events, and the events that came since; see #joinChannels
  #epoch;
  #startSequence; // the sequence that the page was rendered with
  #source; // a Tabs, or a Link of this page's own
  #options;
  #isScheduled;
  #isSuspended;
  #abort = new AbortController();

  constructor(url, options = {}) {
    super();
    this.url = resolveURL(url);
    this.state = "connecting";
    this.transport = "stream";
    this.leader = false;
    this.#options = options;
    const { lastEventId } = options;
    if (lastEventId !== undefined) [this.#epoch, this.#startSequence] = splitCursor(lastEventId);
    this.#sequences.set("", this.#startSequence);
    this.#connect(lastEventId);
    watchPage(
      {
        wake: (mayBeDead) => this.#source.wake(mayBeDead),
        suspend: () => this.#suspendPage(),
        resume: () => this.#resumePage(),
      },
      this.#abort.signal,
    );
    this.#scheduleUpdate();
  }

  /** Read from the cursor on, together with the other tabs or over a connection of this page's own. */
  #connect(lastEventId) {
    const options = this.#options;
    const callbacks = {
      listWanted: () => this.#listWanted(),
      opening: (opening) => this.#beginChannels(opening),
      reads: ({ channels, since }) => this.#joinChannels(channels, since),
      frame: (frame) => this.#takeFrame(frame),
      state: (now) => this.#changeState(now),
      error: (problem) => this.#reportError(problem),
      leads: (leader) => this.#changeLeader(leader),
    };
    const openLink = (its, cursor) => new Link(this.url, { ...options, lastEventId: cursor }, its);
    let tabs;
    try {
      const name = JSON.stringify([OWN, this.url, options.user]);
      if (mayShare(options)) tabs = new Tabs(name, openLink, callbacks, lastEventId);
    } catch {} // the browser forbids locks: it blocks cookies, or the page is in a sandbox
    this.#source = tabs ?? openLink(callbacks, lastEventId);
    // a page with a connection of its own leads itself; it has yet to add its listeners
    if (!tabs) queueMicrotask(() => this.#changeLeader(!this.#isSuspended && this.state !== "closed"));
  }

  channel(name) {
    let channel = this.#channels.get(name);
    if (!channel) {
      const made = new Channel(name, () => this.#channels.get(name) === made && this.#leaveChannel(name));
      this.#channels.set(name, (channel = made));
      this.#sequences.set(name, this.#startSequence);
      this.#scheduleUpdate();
    }
    return channel;
  }

  /** Read the run at this URL, or start one by a POST. It has a connection of its own, which `close()` does not end. */
  run(url, options = {}) {
    const headers = async () => ({ ...(await readHeaders(this.#options)), ...(await readHeaders(options)) });
    return new Run(url, { ...this.#options, lastEventId: undefined, ...options, headers });
  }

  close() {
    this.#changeState({ state: "closed" });
  }

  #leaveChannel(name) {
    this.#channels.delete(name);
    this.#sequences.delete(name);
    const join = this.#joins.get(name);
    this.#joins.delete(name);
    if (![...this.#joins.values()].includes(join)) join?.link.close();
    this.#scheduleUpdate();
  }

  /** Several changes in one task of the page become one request. */
  #scheduleUpdate() {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setTimeout(() => {
      this.#isScheduled = false;
      this.#startSequence = undefined;
      if (this.state !== "closed") this.#source.want(this.#listWanted());
    });
  }

  #listWanted() {
    const channels = [...this.#sequences.keys()];
    return { channels, fresh: channels.filter((name) => this.#isFresh(name)) };
  }

  #isFresh(name) {
    return this.#sequences.has(name) && this.#sequences.get(name) === undefined && !this.#joins.has(name);
  }

  /** The browser suspends the page: give up the connection and the lead, for which other tabs may wait. */
  #suspendPage() {
    this.#isSuspended = true;
    this.#source.close();
    for (const { link } of this.#joins.values()) link.close();
    this.#changeLeader(false);
    this.#changeState({ state: "connecting" });
  }

  /** The browser shows the page again: resume from its cursor. */
  #resumePage() {
    if (!this.#isSuspended) return;
    this.#isSuspended = false;
    this.#connect(this.#source.cursor);
    for (const { ask } of new Set(this.#joins.values())) ask();
    this.#scheduleUpdate();
  }

  #takeFrame(frame) {
    const { event, data, id, channel = "" } = frame;
    if (this.state === "closed") return;
    const sequence = this.#readSequence(id);
    if (event.startsWith(OWN)) return this.#handleOwnEvent(event, JSON.parse(data));
    if (this.#joins.has(channel)) return this.#joins.get(channel).rest.push(frame);
    const had = this.#sequences.get(channel);
    if (had === undefined || sequence <= had) return;
    if (sequence !== undefined) this.#sequences.set(channel, sequence);
    return (this.#channels.get(channel) ?? this).emit(event, new Message(frame));
  }

  /** Return the event's sequence. If its epoch is another one, forget all sequences of the old epoch. */
  #readSequence(id) {
    if (!id?.includes("-")) return;
    const [epoch, sequence] = splitCursor(id);
    if (epoch !== this.#epoch) {
      for (const [name, had] of this.#sequences) if (had !== undefined) this.#sequences.set(name, -1);
      this.#epoch = epoch;
    }
    return sequence;
  }

  /** Emit the opening of a stream: a new channel begins with these frames. */
  #beginChannels({ fresh, frames, id }) {
    const begun = fresh.filter((name) => this.#isFresh(name));
    for (const name of begun) this.#sequences.set(name, -1);
    for (const frame of frames) this.#takeFrame(frame);
    const sequence = this.#readSequence(id);
    for (const name of begun) if (this.#sequences.get(name) === -1) this.#sequences.set(name, sequence);
  }

  /** Ask for the first events of new channels that other tabs read already. Until they come, keep later events. */
  #joinChannels(read, since) {
    const names = read.filter((name) => this.#isFresh(name));
    if (!names.length || this.state === "closed") return;
    const url = new URL(this.url);
    url.searchParams.set("poll", "now");
    const opening = ({ frames, id }) => {
      const fresh = names.filter((name) => this.#joins.get(name) === join);
      join.link.close();
      for (const name of fresh) this.#joins.delete(name);
      const first = frames.filter(({ channel = "" }) => fresh.includes(channel));
      const withState = new Set(first.map(({ channel }) => channel).filter(Boolean));
      const isNew = (frame) => !withState.has(frame.channel) && this.#readSequence(frame.id) > splitCursor(since)[1];
      const from = isBehind(since, id) ? since : id; // a leader that lost its connection has yet to pass on the rest
      this.#beginChannels({
        fresh,
        frames: [...first.map((frame) => ({ ...frame, id: "" })), ...join.rest.filter(isNew)],
        id: from,
      });
      for (const name of withState) this.#sequences.set(name, this.#readSequence(id));
      for (const frame of join.rest) this.#takeFrame(frame);
    };
    const callbacks = {
      opening,
      state() {},
      error: (problem) => this.#reportError(problem),
      isSpared: () => true,
    };
    const ask = () => {
      join.link = new Link(url, { ...this.#options, lastEventId: undefined }, callbacks);
      join.link.want({ channels: names, fresh: names });
    };
    const join = { rest: [], ask };
    for (const name of names) this.#joins.set(name, join);
    ask();
  }

  #handleOwnEvent(event, detail) {
    if (event !== OWN + "reset") return event !== OWN + "hello" && this.emit(event, detail);
    const isNamed = (name) => name !== "*" && !name.startsWith("user:");
    const channels = detail.channels.filter((name) => !isNamed(name) || this.#channels.has(name));
    if (!channels.length) return;
    for (const name of channels) {
      const key = isNamed(name) ? name : "";
      if (this.#sequences.get(key) !== undefined) this.#sequences.set(key, -1);
      this.#channels.get(name)?.emit(event, { ...detail, channels: [name] });
    }
    this.emit(event, { ...detail, channels });
  }

  #changeState({ state, transport = this.transport }) {
    if (this.state === "closed" || (state === this.state && transport === this.transport)) return;
    Object.assign(this, { state, transport });
    if (state === "closed") {
      this.#abort.abort();
      this.#source.close();
      for (const { link } of this.#joins.values()) link.close();
      this.#changeLeader(false);
    }
    this.emit(OWN + state, { state, transport });
  }

  /** The leader has the connection, for itself or for all tabs: each event reaches one leader. */
  #changeLeader(leader) {
    if (leader === this.leader) return;
    this.leader = leader;
    this.emit(OWN + "leader", { leader });
  }

  #reportError(problem) {
    const { channel } = problem;
    if (channel !== undefined && !problem.final && !this.#channels.has(channel)) return;
    this.#channels.get(channel)?.emit(OWN + "error", problem);
    this.emit(OWN + "error", problem);
    if (problem.final) this.close();
    else if (channel !== undefined) this.#leaveChannel(channel);
  }
}
