// ssemux.js: the browser's client of flask_ssemux; how to use it: docs/client.md.
//
// From the page inwards: SSEMux (channels and listeners, each event once), Tabs (one connection for all tabs),
// Link (one stream that is kept alive), Stream (one request), Parser. No build step; where streams are held back it loads
// ssemux-poll.js, which lies beside it.

const TIMEOUT = 120_000; // ms without a byte; the server's default, as those that follow
const HEARTBEAT = 20_000;
const RETRY = 3_000;
const LONGEST_WAIT = 60_000;
const TICK = 5_000; // from one look to the next
const PATIENCE = 1_000; // how long a stream may say nothing
const ANSWER = 3_000; // how long a leader may take to answer
const ALIVE = 1_000; // a leader that speaks as often need not say that it lives
const GATHER = 50; // how long a new leader waits to hear what tabs read
const OWN = "ssemux.";

/** What listeners get: `event`, `data`, `id`, `channel` (undefined: the user's own, or everyone's). */
class Message {
  constructor(frame) {
    Object.assign(this, frame);
  }

  /** The data, read as JSON. */
  get json() {
    return JSON.parse(this.data);
  }
}

/** Listeners by an event's name. One that throws is reported, and costs the others nothing. */
class Emitter {
  #listeners = new Map();

  on(event, listener) {
    this.#listeners.set(event, new Set(this.#listeners.get(event)).add(listener));
    return this;
  }

  off(event, listener) {
    const kept = new Set(this.#listeners.get(event));
    kept.delete(listener);
    this.#listeners.set(event, kept);
    return this;
  }

  emit(event, detail) {
    for (const listener of this.#listeners.get(event) ?? []) {
      try {
        listener(detail);
      } catch (error) {
        (globalThis.reportError ?? console.error)(error);
      }
    }
  }
}

/** A channel that is read until `close`, whoever in this page reads it. */
class Channel extends Emitter {
  constructor(name, close) {
    super();
    Object.assign(this, { name, close });
  }
}

/** Any number of channels over one connection, and each of their events once. Its own events begin with `ssemux.`. */
export class SSEMux extends Emitter {
  #channels = new Map();
  #fresh = new Set(); // those whose first connection is yet to come
  #seen = new Map(); // by channel, the place of the last event given to the page
  #epoch;
  #start; // the place that the page was rendered at
  #waiting = new Map(); // by channel, what waits for its snapshot
  #source;
  #options;
  #resumes;
  #planned;
  #quit = new AbortController();

  /** @param url where the blueprint is mounted. */
  constructor(url, options = {}) {
    super();
    this.url = new URL(url, globalThis.location?.href).href;
    this.state = "connecting";
    this.transport = "stream";
    this.#options = options;
    this.#resumes = options.lastEventId !== undefined;
    if (this.#resumes) [this.#epoch, this.#start] = split(options.lastEventId);
    const tell = {
      frame: (frame) => this.#take(frame),
      state: (now) => this.#become(now),
      held: (channels) => channels.forEach((name) => this.#fresh.delete(name)),
      joined: (channels) => this.#join(channels.filter((name) => this.#fresh.delete(name))),
      error: (problem) => this.#fail(problem),
    };
    const dial = (to, cursor) => new Link(this.url, { ...options, lastEventId: cursor }, to);
    this.#source = mayShare(options)
      ? new Tabs(JSON.stringify([OWN, this.url, options.user]), dial, tell, options.lastEventId)
      : dial(tell, options.lastEventId);
    this.#watch();
    this.#plan();
  }

  /** It is read from now on. */
  channel(name) {
    let channel = this.#channels.get(name);
    if (!channel) {
      channel = new Channel(name, () => this.#leave(name));
      this.#channels.set(name, channel);
      if (!this.#resumes) {
        this.#fresh.add(name);
        this.#seen.set(name, -1);
      }
      this.#plan();
    }
    return channel;
  }

  /** End it; for good. */
  close() {
    this.#become({ state: "closed" });
  }

  #leave(name) {
    this.#channels.delete(name);
    this.#fresh.delete(name);
    this.#seen.delete(name);
    this.#waiting.delete(name);
    this.#plan();
  }

  /** Tell what is to be read, once for all changes of this moment. */
  #plan() {
    if (this.#planned) return;
    this.#planned = true;
    setTimeout(() => {
      this.#planned = false;
      this.#resumes = false;
      if (this.state !== "closed") this.#source.want([...this.#channels.keys()], [...this.#fresh]);
    });
  }

  /** The network or the laptop is back, or somebody looks: nobody should wait then. */
  #watch() {
    const { signal } = this.#quit;
    globalThis.addEventListener?.("online", () => this.#source.wake(true), { signal });
    globalThis.document?.addEventListener("visibilitychange", () => document.hidden || this.#source.wake(), { signal });
  }

  #take(frame) {
    const { event, data, id, channel } = frame;
    if (this.state === "closed") return undefined;
    const place = this.#place(id);
    if (event.startsWith(OWN)) return this.#own(event, JSON.parse(data));
    if (this.#waiting.has(channel)) return this.#waiting.get(channel).push(frame);
    const target = channel === undefined ? this : this.#channels.get(channel);
    if (!target || place <= (this.#seen.get(channel) ?? this.#start)) return undefined;
    if (id) this.#seen.set(channel, place);
    return target.emit(event, new Message(frame));
  }

  /** An event's place in the history; what was seen of another history says nothing about it. */
  #place(id) {
    if (!id?.includes("-")) return undefined; // none, or what is no cursor
    const [epoch, place] = split(id);
    if (epoch !== this.#epoch) {
      this.#seen.clear();
      this.#start = undefined;
      this.#epoch = epoch;
    }
    return place;
  }

  /** Channels that another tab reads already: one answer has their snapshot; what came since follows. */
  #join(names) {
    if (!names.length) return;
    const [first, rest] = [[], []];
    for (const name of names) this.#waiting.set(name, rest);
    const end = (id) => {
      clearTimeout(limit);
      stream.end();
      for (const name of names) this.#waiting.delete(name);
      for (const frame of first) this.#take(frame);
      for (const { channel } of first) this.#seen.set(channel, this.#place(id));
      for (const frame of rest) this.#take(frame);
    };
    const frame = (_, it) => {
      if (names.includes(it.channel)) first.push(it);
      if (it.id) end(it.id); // of the last of the snapshot, or of hello where there is none
    };
    const where = address(this.url, names);
    where.searchParams.set("poll", "now");
    const stream = new Stream(where, names, this.#options, { frame, byte() {}, retry() {}, end: () => end() });
    const limit = setTimeout(end, ANSWER);
    this.#quit.signal.addEventListener("abort", () => end());
  }

  #own(event, told) {
    if (event !== OWN + "reset") return event !== OWN + "hello" && this.emit(event, told);
    const isNamed = (name) => name !== "*" && !name.startsWith("user:");
    const channels = told.channels.filter((name) => !isNamed(name) || this.#channels.has(name));
    if (!channels.length) return;
    for (const name of channels) {
      this.#seen.set(isNamed(name) ? name : undefined, -1);
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

/** A cursor's history, and its place there. */
function split(cursor) {
  const cut = cursor.lastIndexOf("-");
  return [cursor.slice(0, cut), Number(cursor.slice(cut + 1))];
}

/** Whether one cursor is not as far as another. */
function isBehind(one, other) {
  if (!one || !other) return one;
  const [[epoch, place], [otherEpoch, otherPlace]] = [split(one), split(other)];
  return epoch !== otherEpoch || place < otherPlace;
}

/** Where channels are read, after a cursor if there is one; `fresh` are new and begin now. */
function address(url, channels, fresh = [], cursor = undefined) {
  const made = new URL(url);
  const add = (key, value) => made.searchParams.append(key, value);
  for (const name of channels) add("channel", name);
  if (cursor) add("lastEventId", cursor);
  for (const name of cursor ? fresh : []) add("new", name);
  return made;
}

/** Whether tabs may share; other headers may mean another user. */
function mayShare({ shared = true, headers, fetch, user }) {
  const isClear = user !== undefined || !(headers || fetch);
  return shared && isClear && globalThis.document && navigator.locks && globalThis.BroadcastChannel;
}

/**
 * The tabs of a browser with one connection: who holds the lock leads, has the Link, and passes on what comes.
 * A tab that is no more has lost its own lock, which the leader waits for; a leader that is frozen does not answer.
 */
class Tabs {
  #name;
  #dial;
  #tell;
  #post;
  #cursor;
  #me = crypto.randomUUID();
  #mine = { channels: [], fresh: [] };
  #tabs = new Map(); // of the leader: what each tab reads
  #link; // of the leader
  #state = { state: "connecting" };
  #leader;
  #alive;
  #isGuest; // the leader is to read from our cursor first
  #heard = Date.now();
  #spoke = 0;
  #timer;
  #quit = new AbortController();
  #over = new Promise((resolve) => this.#quit.signal.addEventListener("abort", resolve));

  constructor(name, dial, tell, cursor) {
    this.#name = name;
    this.#dial = dial;
    this.#tell = tell;
    this.#cursor = cursor;
    this.#isGuest = Boolean(cursor);
    this.#post = new BroadcastChannel(name);
    this.#post.onmessage = ({ data }) => this.#hear(data);
    this.#alive = new Promise((ready) => this.#hold(name + this.#me, {}, () => this.#live(ready)).catch(() => {}));
    this.#stand({});
    this.#timer = setInterval(() => this.#look(), TICK);
  }

  want(channels, fresh) {
    this.#mine = { channels, fresh };
    if (this.#link) this.#gather(this.#me, this.#mine);
    else this.#introduce();
  }

  wake(isSure) {
    this.#link?.wake(isSure);
    if (!this.#link) this.#ask();
  }

  close() {
    this.#quit.abort();
    clearInterval(this.#timer);
    this.#post.close();
    this.#retire();
  }

  // -- who leads ----------------------------------------------------------

  #hold(name, options, held) {
    const signal = options.steal ? undefined : this.#quit.signal; // the two do not go together
    return navigator.locks.request(name, { ...options, signal }, held);
  }

  #live(ready) {
    ready();
    return this.#over;
  }

  #stand(options) {
    const lost = ({ name }) => {
      this.#retire(); // somebody found us frozen
      if (this.#quit.signal.aborted) return undefined;
      if (name === "AbortError") return this.#stand({});
      this.#post.onmessage = null; // no locks for this page: each tab for itself
      return this.#lead();
    };
    this.#hold(this.#name, options, () => this.#lead()).catch(lost);
  }

  #lead() {
    if (this.#quit.signal.aborted) return undefined;
    this.#tabs = new Map([[this.#me, this.#mine]]);
    this.#say({ is: "who" });
    setTimeout(() => this.#connect(), GATHER);
    return this.#over;
  }

  #connect() {
    if (!this.#tabs.size) return; // it was closed meanwhile, or found frozen
    const pass = (is) => (it) => this.#pass({ is, it });
    const tell = { frame: pass("frame"), state: pass("state"), error: pass("error") };
    const byte = () => Date.now() - this.#spoke < ALIVE || this.#say({ is: "alive" });
    this.#isGuest = false;
    this.#link = this.#dial({ ...tell, byte, held: (channels) => this.#settle("held", channels) }, this.#cursor);
    this.#gather(this.#me, this.#mine);
  }

  #retire() {
    this.#link?.close();
    this.#link = undefined;
    this.#tabs.clear();
  }

  /** A leader that has been silent is asked; if it does not answer, its lock is taken. */
  #look() {
    if (this.#link) this.#say({ is: "alive" });
    else if (Date.now() - this.#heard > TIMEOUT) this.#ask();
  }

  #ask() {
    const asked = Date.now();
    this.#say({ is: "ping" });
    setTimeout(() => {
      if (this.#heard < asked && !this.#link && !this.#quit.signal.aborted) this.#stand({ steal: true });
    }, ANSWER);
  }

  // -- what tabs say to each other ------------------------------------------

  #say(words) {
    this.#spoke = Date.now();
    if (!this.#quit.signal.aborted) this.#post.postMessage({ from: this.#me, ...words });
  }

  /** The leader's: to all tabs, itself too. */
  #pass(words) {
    this.#say(words);
    this.#receive(words);
  }

  /** Not before we hold the lock that the leader waits for. */
  async #introduce() {
    await this.#alive;
    this.#say({ is: "want", ...this.#mine, cursor: this.#cursor });
  }

  #hear(words) {
    const { is, from } = words;
    if (is === "want") return this.#tabs.size && this.#gather(from, words);
    if (is === "ping") return this.#link && this.#answer();
    if (is === "who") return this.#follow(from);
    this.#leader ??= from;
    if (this.#link || from !== this.#leader) return undefined; // from one that was frozen, and leads no more
    this.#heard = Date.now();
    return this.#receive(words);
  }

  #follow(leader) {
    this.#leader = leader;
    this.#heard = Date.now();
    this.#retire(); // if we are the one that was frozen
    this.#introduce();
  }

  #answer() {
    this.#link.wake();
    this.#say({ is: "state", it: this.#state });
  }

  #receive({ is, it, welcome, cursor }) {
    this.#cursor ??= cursor;
    if (welcome?.includes(this.#me)) this.#isGuest = false;
    if (is === "frame" && this.#isGuest) return;
    if (is === "frame" && it.id) this.#cursor = it.id;
    if (is === "state") this.#state = it;
    if (is === "held" || is === "joined") settle(this.#mine, it);
    this.#tell[is]?.(it);
  }

  // -- the leader's -----------------------------------------------------------

  /** What a tab reads. One that is new here may have seen less than we: all is read from there, which it waits for. */
  #gather(from, { channels, fresh, cursor }) {
    const before = this.#tabs.get(from);
    const isBack = !before && channels.length > fresh.length && isBehind(cursor, this.#cursor);
    this.#tabs.set(from, { channels, fresh, waits: isBack || before?.waits });
    if (!before) this.#hold(this.#name + from, {}, () => this.#forget(from)).catch(() => {});
    if (this.#link) this.#plan(isBack ? cursor : undefined);
    else if (isBack) this.#cursor = cursor;
  }

  #forget(tab) {
    if (this.#tabs.delete(tab) && this.#link) this.#plan();
  }

  #plan(since) {
    const all = [...this.#tabs.values()];
    const channels = [...new Set(all.flatMap((tab) => tab.channels))];
    const known = new Set(all.flatMap((tab) => tab.channels.filter((name) => !tab.fresh.includes(name))));
    this.#link.want(channels, channels.filter((name) => !known.has(name)), since);
    this.#settle("joined", [...known]);
    this.#say({ is: "state", it: this.#state });
  }

  #settle(is, channels) {
    for (const tab of this.#tabs.values()) {
      tab.waits &&= is === "joined";
      settle(tab, channels);
    }
    const welcome = [...this.#tabs].filter(([, tab]) => !tab.waits).map(([name]) => name);
    this.#pass({ is, it: channels, welcome, cursor: this.#cursor });
  }
}

/** These channels are new to a tab no more. */
function settle(tab, channels) {
  tab.fresh = tab.fresh.filter((name) => !channels.includes(name));
}

/** How long to wait for the next try: `retry` at least, doubled with each failure after the first. */
export function pause(retry, failures, random = Math.random()) {
  const doubled = retry * 2 ** Math.max(failures - 1, 0);
  return Math.min(doubled, Math.max(retry, LONGEST_WAIT)) * (1 + random / 2);
}

/** A stream that is kept alive: when it ends, or its channels change, another takes its place. */
class Link {
  #url;
  #options;
  #tell;
  #channels = [];
  #fresh = [];
  #cursor;
  #since; // a cursor from which a tab is yet to read
  #current; // the stream that said hello
  #next; // the one that is to follow it
  #timer; // of the wait before it
  #failures = 0;
  #silences = 0; // that streams were given up for
  #fetch; // what polls, where streams are held back
  #retry = RETRY;
  #timeout;
  #heartbeat = HEARTBEAT;
  #state;
  #looked = Date.now();
  #watch;

  constructor(url, options, tell) {
    this.#url = url;
    this.#options = options;
    this.#tell = tell;
    this.#cursor = options.lastEventId;
    this.#timeout = options.timeout ?? TIMEOUT;
    this.#look();
  }

  /** Read these channels; `fresh` are new, and begin now; all others go on after the cursor, or after `since`. */
  want(channels, fresh, since) {
    const stream = this.#next ?? this.#current;
    const isAsWanted = stream && sameNames(stream.channels, channels) && sameNames(stream.fresh, fresh) && !since;
    this.#channels = channels;
    this.#fresh = fresh;
    this.#since = since ?? this.#since;
    const isWaiting = this.#timer && !this.#current;
    if (this.#state !== "closed" && !isWaiting && !isAsWanted) this.#open();
  }

  /** Something was or is away: look at once. `isSure`: what there is may be dead, and nobody said so. */
  wake(isSure) {
    const isSilent = this.#current && this.#current.silence > this.#heartbeat * 1.25;
    if (this.#timer || (this.#current && !this.#next && (isSure || isSilent))) this.#open();
  }

  close() {
    this.#state = "closed";
    clearTimeout(this.#watch);
    clearTimeout(this.#timer);
    this.#current?.end();
    this.#next?.end();
    this.#current = this.#next = this.#timer = undefined;
  }

  #open() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#next?.end();
    if (!this.#current) this.#become("connecting");
    const where = address(this.#url, this.#channels, this.#fresh, this.#since ?? this.#cursor);
    const fetch = this.#fetch ?? this.#options.fetch;
    const stream = new Stream(where, this.#channels, { ...this.#options, fetch }, {
      byte: (stream) => this.#heardOf(stream),
      frame: (stream, frame) => this.#take(stream, frame),
      retry: (milliseconds) => (this.#retry = milliseconds),
      end: (stream, problem) => this.#ended(stream, problem),
    });
    stream.fresh = this.#fresh;
    this.#next = stream;
    setTimeout(() => stream === this.#next && this.#poll(), PATIENCE);
  }

  /** Something on the way holds streams back, as it seems: polls are answered through everything. */
  async #poll() {
    const { polling } = await import("./ssemux-poll.js").catch(() => ({}));
    if (!polling || this.#fetch || this.#current || this.#state === "closed") return;
    this.#fetch = polling(this.#options, () => {
      this.#fetch = undefined;
      this.#become(this.#state);
    });
    this.#open();
  }

  #heardOf(stream) {
    if (this.#state === "stale" && stream === this.#current) this.#become("open");
    this.#tell.byte?.();
  }

  #take(stream, frame) {
    if (stream === this.#next) this.#follow(stream);
    if (frame.event === OWN + "hello") this.#obey(JSON.parse(frame.data));
    if (frame.id) this.#cursor = frame.id;
    this.#tell.frame(frame);
  }

  /** The next stream speaks: it says all that the one before it would. */
  #follow(stream) {
    this.#current?.end();
    this.#current = stream;
    this.#next = undefined;
    this.#failures = 0;
    this.#since = undefined;
    this.#fresh = stream.fresh = [];
    this.#tell.held(stream.channels);
    this.#become("open");
  }

  #obey({ heartbeat, timeout }) {
    this.#heartbeat = heartbeat * 1000;
    this.#timeout = timeout * 1000;
    this.#look();
  }

  #ended(stream, problem) {
    const isNext = stream === this.#next;
    if (isNext) this.#next = undefined;
    else this.#current = undefined;
    if (this.#isRefused(problem)) return this.#refused(problem);
    if (problem) this.#tell.error(problem);
    if (this.#state === "closed") return undefined; // for a problem that is final
    if (!this.#current) this.#become("connecting");
    if (isNext && !stream.isSentAway) this.#failures += 1;
    if (!this.#next) this.#wait();
    return undefined;
  }

  #wait() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#open(), pause(this.#retry, this.#failures));
  }

  /** Whether it is one channel that may not be read, and others may. */
  #isRefused(problem) {
    const isOurs = [401, 403].includes(problem?.status) && this.#channels.includes(problem.channel);
    return isOurs && (this.#current || this.#channels.length > 1);
  }

  #refused(problem) {
    const without = (names) => names.filter((name) => name !== problem.channel);
    this.#channels = without(this.#channels);
    this.#fresh = without(this.#fresh);
    if (!this.#current || !sameNames(this.#current.channels, this.#channels)) this.#open();
    this.#tell.error({ ...problem, final: false });
  }

  #become(state) {
    this.#state = state;
    this.#tell.state({ state, transport: this.#fetch ? "poll" : "stream" });
  }

  /** Is anything too silent? Has the laptop slept? */
  #look() {
    clearTimeout(this.#watch);
    const every = Math.min(TICK, this.#timeout / 8);
    const now = Date.now();
    const hasSlept = now - this.#looked > every + TICK;
    this.#looked = now;
    for (const stream of [this.#current, this.#next]) this.#judge(stream);
    if (hasSlept) this.wake();
    if (this.#state !== "closed") this.#watch = setTimeout(() => this.#look(), every);
  }

  #judge(stream) {
    if (stream?.silence > this.#timeout) {
      stream.end(); // which tells nothing
      this.#silences += 1;
      this.#ended(stream, { message: `nothing came for ${this.#timeout / 1000} s`, final: false });
      if (this.#silences > 1) this.#poll();
    } else if (stream && stream === this.#current && stream.silence > this.#heartbeat * 2) {
      this.#become("stale");
    }
  }
}

function sameNames(some, others) {
  return some.length === others.length && some.every((name) => others.includes(name));
}

/** One request, and what comes of it. After `end` nothing is told. */
class Stream {
  #abort = new AbortController();
  #heard = Date.now();
  isSentAway = false; // the server said when to come back

  constructor(url, channels, options, tell) {
    this.channels = channels;
    this.#run(url, options, tell);
  }

  /** Milliseconds since the last byte. */
  get silence() {
    return Date.now() - this.#heard;
  }

  end() {
    this.#abort.abort();
  }

  async #run(url, options, tell) {
    const { signal } = this.#abort;
    let problem;
    try {
      problem = await this.#read(await this.#ask(url, options), tell);
    } catch (error) {
      problem = { message: String(error?.message ?? error), final: false };
    }
    if (!signal.aborted) {
      this.end();
      tell.end(this, problem);
    }
  }

  async #ask(url, { fetch = globalThis.fetch, headers, credentials = "same-origin" }) {
    const given = typeof headers === "function" ? await headers() : headers;
    const all = { Accept: "text/event-stream", ...given };
    return fetch(url.href, { headers: all, credentials, cache: "no-store", signal: this.#abort.signal });
  }

  async #read(response, tell) {
    const problem = await refusal(response);
    if (problem) return problem;
    const parser = new Parser({
      frame: (frame) => this.#abort.signal.aborted || tell.frame(this, frame),
      retry: (milliseconds) => {
        this.isSentAway = true;
        tell.retry(milliseconds);
      },
    });
    const [reader, decoder] = [response.body.getReader(), new TextDecoder()];
    for (;;) {
      const { done, value } = await reader.read();
      if (done || this.#abort.signal.aborted) return undefined;
      this.#heard = Date.now();
      tell.byte(this);
      parser.feed(decoder.decode(value, { stream: true }));
    }
  }
}

/** What is wrong with an answer, if anything; `final` where asking again would change nothing. */
async function refusal(response) {
  const { status, headers } = response;
  const type = headers.get("Content-Type") ?? "";
  if (status === 200 && type.startsWith("text/event-stream")) return undefined;
  const final = status === 204 || (status >= 400 && status < 500 && ![408, 425, 429].includes(status));
  const told = type.includes("json") ? await response.json().catch(() => null) : null;
  const plain = status === 200 ? `the answer is ${type || "of no type"}, not a stream` : `HTTP ${status}`;
  return { message: told?.message ?? plain, status, final, channel: told?.channel };
}

/** The format of the stream (WHATWG HTML 9.2.6), with one field more: `channel`. */
export class Parser {
  #tell;
  #rest = "";
  #endsInCR = false;
  #fields = {};

  constructor(tell) {
    this.#tell = tell;
  }

  feed(text) {
    if (!text) return;
    const isSecondHalf = this.#endsInCR && text[0] === "\n";
    this.#endsInCR = text.endsWith("\r");
    const lines = (this.#rest + (isSecondHalf ? text.slice(1) : text)).split(/\r\n|\r|\n/);
    this.#rest = lines.pop();
    for (const line of lines) this.#line(line);
  }

  #line(line) {
    if (!line) return this.#dispatch();
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    const fields = this.#fields;
    if (name === "data") fields.data = fields.data === undefined ? value : `${fields.data}\n${value}`;
    else if (name === "event" || name === "channel") fields[name] = value;
    else if (name === "id" && !value.includes("\0")) fields.id = value;
    else if (name === "retry" && /^[0-9]+$/.test(value)) this.#tell.retry(Number(value));
    return undefined;
  }

  #dispatch() {
    const { event, data, id, channel } = this.#fields;
    this.#fields = {};
    if (data !== undefined) this.#tell.frame({ event: event || "message", data, id, channel });
  }
}
