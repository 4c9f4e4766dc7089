// Built from client/src by `make client`. Documentation: docs/client.md

// client/src/cursor.js
var OWN = "ssemux.";
function split(cursor) {
  const cut = cursor.lastIndexOf("-");
  return [cursor.slice(0, cut), Number(cursor.slice(cut + 1))];
}
function isBehind(one, other) {
  if (!one || !other) return one;
  const [[epoch, place], [otherEpoch, otherPlace]] = [split(one), split(other)];
  return epoch !== otherEpoch || place < otherPlace;
}

// client/src/emitter.js
var Message = class {
  constructor(frame) {
    Object.assign(this, frame);
  }
  get json() {
    return JSON.parse(this.data);
  }
};
var Emitter = class {
  #listeners = [];
  on(event, listener) {
    this.#listeners = [...this.off(event, listener).#listeners, [event, listener]];
    return this;
  }
  off(event, listener) {
    this.#listeners = this.#listeners.filter(([name, other]) => name !== event || other !== listener);
    return this;
  }
  emit(event, detail) {
    for (const [name, listener] of this.#listeners) {
      try {
        if (name === event) listener(detail);
      } catch (error) {
        (globalThis.reportError ?? console.error)(error);
      }
    }
  }
};
var Channel = class extends Emitter {
  constructor(name, close) {
    super();
    Object.assign(this, { name, close });
  }
};

// client/src/parser.js
var Parser = class {
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
    if (name === "data") fields.data = fields.data === void 0 ? value : `${fields.data}
${value}`;
    else if (name === "event" || name === "channel") fields[name] = value;
    else if (name === "id" && !value.includes("\0")) fields.id = value;
    else if (name === "retry" && /^[0-9]+$/.test(value)) this.#tell.retry(Number(value));
  }
  #dispatch() {
    const { event, data, id, channel } = this.#fields;
    this.#fields = {};
    if (data !== void 0) this.#tell.frame({ event: event || "message", data, id, channel });
  }
};

// client/src/request.js
var Request = class {
  #abort = new AbortController();
  #heard = Date.now();
  isHeard = false;
  isSentAway;
  // whether the server said when to come back
  constructor(url, channels, options, tell) {
    this.channels = channels;
    this.#run(url, options, tell);
  }
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
      }
    });
    const [reader, decoder] = [response.body.getReader(), new TextDecoder()];
    for (; ; ) {
      const { done, value } = await reader.read();
      if (done || this.#abort.signal.aborted) return;
      this.#heard = Date.now();
      this.isHeard = true;
      tell.byte(this);
      parser.feed(decoder.decode(value, { stream: true }));
    }
  }
};
async function refusal(response) {
  const { status, headers } = response;
  const type = headers.get("Content-Type") ?? "";
  if (status === 200 && type.startsWith("text/event-stream")) return;
  const final = status === 204 || status >= 400 && status < 500 && ![408, 425, 429].includes(status);
  const told = type.includes("json") ? await response.json().catch(() => null) : null;
  if (status === 204) return { message: "the server ended it for good (HTTP 204)", status, final };
  const plain = status === 200 ? `the answer is ${type || "of no type"}, not a stream` : `HTTP ${status}`;
  return { message: told?.message ?? plain, status, final, channel: told?.channel };
}

// client/src/link.js
var TIMEOUT = 12e4;
var HEARTBEAT = 2e4;
var RETRY = 3e3;
var LONGEST_WAIT = 6e4;
var TICK = 5e3;
var PATIENCE = 1e3;
var VACATED = 250;
function pause(retry, failures, random = Math.random()) {
  const doubled = retry * 2 ** Math.max(failures - 1, 0);
  return Math.min(doubled, Math.max(retry, LONGEST_WAIT)) * (1 + random / 2);
}
var Link = class {
  #channels = [];
  #fresh = [];
  #since;
  // the cursor of a tab that is behind
  #current;
  // the request whose opening frames have come
  #next;
  // the request that will replace it
  #timer;
  #failures = 0;
  #silences = 0;
  // time-outs without an event, in a row
  #fetch;
  // the polling fetch, where streams are held back
  #retry = RETRY;
  #timeout;
  #heartbeat = HEARTBEAT;
  #state;
  #looked = Date.now();
  #watch;
  constructor(url, options, tell) {
    Object.assign(this, { url, options, tell, cursor: options.lastEventId });
    this.#timeout = options.timeout ?? TIMEOUT;
    this.#look();
  }
  /** The channels in `fresh` begin now. All others continue after the cursor, or after `since`. */
  want({ channels, fresh, since }) {
    const stream = this.#next ?? this.#current;
    const isAsWanted = stream && sameNames(stream.channels, channels) && sameNames(stream.fresh, fresh) && !since;
    this.#channels = channels;
    this.#fresh = fresh;
    if (isBehind(since, this.#since)) this.#since = since;
    const isWaiting = this.#timer && !this.#current;
    if (!isWaiting && !isAsWanted) this.#open();
  }
  /** Open a new request if the present one is silent, or, with `isSure`, may be dead. */
  wake(isSure) {
    const isSilent = this.#current && this.#current.silence > this.#heartbeat * 1.25;
    if (this.#timer || this.#current && !this.#next && (isSure || isSilent)) this.#open();
  }
  close() {
    this.#state = "closed";
    clearTimeout(this.#watch);
    clearTimeout(this.#timer);
    this.#current?.end();
    this.#next?.end();
    this.#current = this.#next = this.#timer = void 0;
  }
  get #isOver() {
    return this.#state === "closed";
  }
  #open() {
    clearTimeout(this.#timer);
    this.#timer = void 0;
    this.#next?.end();
    if (!this.#current) this.#become("connecting");
    if (this.#isOver) return;
    const after = this.#since ?? this.cursor;
    const where = address(this.url, this.#channels, this.#fresh, after);
    const fetch = this.#fetch ?? this.options.fetch;
    const stream = new Request(
      where,
      this.#channels,
      { ...this.options, fetch },
      {
        byte: (stream2) => this.#heardOf(stream2),
        frame: (stream2, frame) => this.#take(stream2, frame),
        retry: (milliseconds) => this.#retry = milliseconds,
        end: (stream2, problem) => this.#ended(stream2, problem)
      }
    );
    Object.assign(stream, { after, fresh: this.#fresh, opening: [] });
    this.#next = stream;
    setTimeout(() => stream === this.#next && !stream.isHeard && this.#poll(), PATIENCE);
  }
  async #poll() {
    const { polling } = await import("./ssemux-poll.js").catch(() => ({}));
    if (!polling || this.#fetch || this.#current || this.#isOver) return;
    this.#fetch = polling(this.options, () => {
      this.#fetch = void 0;
      this.#become(this.#state);
    });
    this.#open();
  }
  #heardOf(stream) {
    if (Date.now() - stream.opened > PATIENCE) this.#silences = 0;
    if (this.#state === "stale" && stream === this.#current) this.#become("open");
    this.tell.byte?.();
  }
  #take(stream, frame) {
    const { event, data, id } = frame;
    if (event === OWN + "hello") this.#obey(JSON.parse(data));
    if (stream === this.#next) {
      stream.opening.push(frame);
      if (id) this.#follow(stream, id);
    } else if (!(this.#next && event === OWN + "replaced")) {
      this.cursor = id || this.cursor;
      this.tell.frame(frame);
    }
  }
  /** The new request has everything that the one before it would bring, so that one ends. */
  #follow(stream, id) {
    const { after, channels, opening } = stream;
    const fresh = after ? stream.fresh : channels;
    this.#current?.end();
    this.#current = stream;
    this.cursor = id;
    this.#next = this.#since = void 0;
    this.#failures = 0;
    this.#fresh = stream.fresh = [];
    stream.opened = Date.now();
    this.#become("open");
    if (!this.#isOver) this.tell.opening({ since: after, channels, fresh, frames: opening, id });
  }
  #obey({ heartbeat, timeout }) {
    this.#heartbeat = heartbeat * 1e3;
    this.#timeout = timeout * 1e3;
    this.#look();
  }
  #ended(stream, problem) {
    const isNext = stream === this.#next;
    const isSentAway = stream.isSentAway && !problem;
    if (isNext) this.#next = void 0;
    else this.#current = void 0;
    if (this.#isRefused(problem)) return this.#refused(problem);
    if (problem) this.tell.error(problem);
    const hasNoRoom = isNext && this.#current && isSentAway && !stream.opening.length;
    if (hasNoRoom) {
      this.#current.end();
      this.#current = void 0;
    }
    if (!this.#current) this.#become("connecting");
    if (isNext && !isSentAway) this.#failures += 1;
    if (!this.#next) this.#wait(hasNoRoom ? VACATED : pause(this.#retry, this.#failures));
  }
  #wait(milliseconds) {
    clearTimeout(this.#timer);
    if (!this.#isOver) this.#timer = setTimeout(() => this.#open(), milliseconds);
  }
  /** Whether the server refuses one channel only. */
  #isRefused(problem) {
    const isOurs = [401, 403].includes(problem?.status) && this.#channels.includes(problem.channel);
    return isOurs && (this.#current || this.#channels.length > 2 || this.tell.isSpared?.());
  }
  #refused(problem) {
    const without = (names) => names.filter((name) => name !== problem.channel);
    this.#channels = without(this.#channels);
    this.#fresh = without(this.#fresh);
    this.tell.error({ ...problem, final: false });
    if (!this.#current || !sameNames(this.#current.channels, this.#channels)) this.#open();
  }
  #become(state) {
    if (this.#isOver) return;
    this.#state = state;
    this.tell.state({ state, transport: this.#fetch ? "poll" : "stream", heartbeat: this.#heartbeat });
  }
  #look() {
    clearTimeout(this.#watch);
    const every = Math.min(TICK, this.#timeout / 8);
    const now = Date.now();
    const hasSlept = now - this.#looked > every + TICK;
    this.#looked = now;
    if (hasSlept) this.wake();
    else for (const stream of [this.#current, this.#next]) this.#judge(stream);
    if (!this.#isOver) this.#watch = setTimeout(() => this.#look(), every);
  }
  #judge(stream) {
    if (stream?.silence > this.#timeout) {
      stream.end();
      if (!this.#next) this.#silences += 1;
      this.#ended(stream, { message: `nothing came for ${this.#timeout / 1e3} s`, final: false });
      if (this.#silences > 1) this.#poll();
    } else if (stream && stream === this.#current && stream.silence > this.#heartbeat * 2) {
      this.#become("stale");
    }
  }
};
function address(url, channels, fresh, cursor) {
  const made = new URL(url);
  const add = (key, names) => names.forEach((name) => name && made.searchParams.append(key, name));
  add("channel", channels);
  add("lastEventId", [cursor]);
  if (cursor) add("new", fresh);
  return made;
}
function sameNames(some, others) {
  return some.length === others.length && some.every((name) => others.includes(name));
}

// client/src/tabs.js
var ANSWER = 3e3;
var ALIVE = 1e3;
var GATHER = 50;
function mayShare({ shared = true, headers, fetch, user }) {
  const isClear = user !== void 0 || !(headers || fetch);
  return shared && isClear && globalThis.document && navigator.locks && globalThis.BroadcastChannel;
}
var Tabs = class {
  #post;
  #me = crypto.randomUUID();
  #tabs = /* @__PURE__ */ new Map();
  // in the leader: what each tab wants
  #link;
  #held = [];
  // the channels that the stream reads
  #state = { state: "connecting" };
  #leader;
  #alive;
  #isIn;
  // whether frames that are passed on follow this tab's cursor
  #isMet;
  // whether the leader said what it reads
  #heard = 0;
  #spoke = 0;
  #timer;
  #asking;
  #quit = new AbortController();
  #over = new Promise((resolve) => this.#quit.signal.addEventListener("abort", resolve));
  constructor(name, dial, tell, cursor) {
    Object.assign(this, { name, dial, tell, cursor });
    this.#isIn = !cursor;
    this.#post = new BroadcastChannel(name);
    this.#post.onmessage = ({ data }) => this.#hear(data);
    this.#alive = new Promise((ready) => this.#hold(name + this.#me, {}, () => this.#live(ready)).catch(() => {
    }));
    this.#stand({});
    this.#look();
  }
  get #heartbeat() {
    return this.#state.heartbeat ?? HEARTBEAT;
  }
  want(wanted) {
    if (this.#link) this.#gather(this.#me, wanted);
    else this.#introduce();
  }
  wake(isSure) {
    this.#link?.wake(isSure);
    if (!this.#link) this.#ask();
  }
  close() {
    this.#quit.abort();
    clearTimeout(this.#timer);
    clearTimeout(this.#asking);
    this.#post.close();
    this.#retire();
  }
  async #hold(name, options, held) {
    const signal = options.steal ? void 0 : this.#quit.signal;
    return navigator.locks.request(name, { ...options, signal }, held);
  }
  #live(ready) {
    ready();
    return this.#over;
  }
  #stand(options) {
    const lost = ({ name }) => {
      this.#retire();
      if (this.#quit.signal.aborted) return;
      if (name === "AbortError") return options.steal || this.#stand({});
      this.#post.onmessage = null;
      return this.#lead();
    };
    this.#hold(this.name, options, () => this.#lead()).catch(lost);
  }
  #lead() {
    if (this.#quit.signal.aborted) return;
    this.#tabs = /* @__PURE__ */ new Map([[this.#me, this.tell.wanted()]]);
    this.#say({ is: "who" });
    setTimeout(() => this.#connect(), GATHER);
    return this.#over;
  }
  #connect() {
    if (!this.#tabs.size || this.#link) return;
    const pass = (is) => (it) => this.#pass(is, it);
    this.#link = this.dial(
      {
        opening: (it) => {
          this.#held = it.channels;
          this.#pass("opening", it);
        },
        frame: pass("frame"),
        state: pass("state"),
        error: pass("error"),
        byte: () => Date.now() - this.#spoke < ALIVE || this.#say({ is: "alive" }),
        isSpared: () => this.#tabs.size > 1
      },
      this.cursor
    );
    this.#gather(this.#me, this.tell.wanted());
  }
  #retire() {
    this.#link?.close();
    this.#link = void 0;
    this.#tabs.clear();
    this.#held = [];
  }
  /** A leader that is silent for half a heartbeat is asked. If it does not answer, its lock is taken. */
  #look() {
    if (this.#link) this.#say({ is: "alive" });
    else if (Date.now() - this.#heard > this.#heartbeat / 2) this.#ask();
    this.#timer = setTimeout(() => this.#look(), Math.min(TICK, this.#heartbeat / 8));
  }
  #ask() {
    const asked = Date.now();
    this.#say({ is: "ping" });
    this.#asking ??= setTimeout(
      () => {
        this.#asking = void 0;
        if (this.#heard < asked && !this.#tabs.size && !this.#quit.signal.aborted) this.#stand({ steal: true });
      },
      Math.min(ANSWER, this.#heartbeat)
    );
  }
  #say(words) {
    this.#spoke = Date.now();
    if (!this.#quit.signal.aborted) this.#post.postMessage({ from: this.#me, ...words });
  }
  #pass(is, it) {
    this.#say({ is, it });
    this.#receive({ is, it });
  }
  async #introduce() {
    await this.#alive;
    this.#say({ is: "want", ...this.tell.wanted(), cursor: this.#isIn ? void 0 : this.cursor });
  }
  #hear(words) {
    const { is, from } = words;
    if (is === "want") return this.#tabs.size && this.#gather(from, words);
    if (is === "ping") return this.#link && this.#answer();
    if (is === "who") return this.#follow(from);
    this.#leader ??= from;
    if (this.#link || from !== this.#leader) return;
    this.#heard = Date.now();
    return this.#receive(words);
  }
  #follow(leader) {
    this.#leader = leader;
    this.#heard = Date.now();
    this.#isIn = !this.cursor;
    this.#retire();
    this.#introduce();
  }
  #answer() {
    this.#link.wake();
    this.#say({ is: "state", it: this.#state });
  }
  #receive({ is, it }) {
    if (is === "opening" || is === "reads") {
      this.#isMet = true;
      this.#isIn ||= !isBehind(this.cursor, it.since);
    }
    if (is === "opening" || is === "frame") {
      if (!this.#isIn) return;
      this.cursor = it.id || this.cursor;
    }
    if (is === "reads") this.cursor ??= it.since;
    if (is === "state") this.#state = it;
    if (is !== "state" || this.#isMet) this.tell[is]?.(it);
    if (is === "opening") this.tell.reads({ channels: it.channels, since: it.id });
  }
  /** A tab joins or changes its channels. If its cursor is behind the leader's, the next stream starts there. */
  #gather(from, { channels, fresh, cursor }) {
    const isNew = !this.#tabs.has(from);
    const since = isNew && isBehind(cursor, this.cursor) ? cursor : void 0;
    this.#tabs.set(from, { channels, fresh });
    if (isNew) this.#hold(this.name + from, {}, () => this.#forget(from)).catch(() => {
    });
    if (this.#link) this.#plan(since);
    else if (since) this.cursor = since;
  }
  #forget(tab) {
    if (this.#tabs.delete(tab) && this.#link) this.#plan();
  }
  #plan(since) {
    const tabs = [...this.#tabs.values()];
    const channels = [...new Set(tabs.flatMap((tab) => tab.channels))];
    const known = tabs.flatMap((tab) => tab.channels.filter((name) => !tab.fresh.includes(name)));
    const fresh = channels.filter((name) => !known.includes(name) && !this.#held.includes(name));
    this.#pass("reads", { channels: this.#held, since: this.cursor });
    this.#link?.want({ channels, fresh, since });
    this.#say({ is: "state", it: this.#state });
  }
};

// client/src/mux.js
var SSEMux = class extends Emitter {
  #channels = /* @__PURE__ */ new Map();
  #sequences = /* @__PURE__ */ new Map();
  // by channel: the last sequence that the page got; undefined before the first event
  #joins = /* @__PURE__ */ new Map();
  // by channel: the request for its opening frames, and the frames that came meanwhile
  #epoch;
  #start;
  // the sequence at which the page was rendered
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
    if (lastEventId !== void 0) [this.#epoch, this.#start] = split(lastEventId);
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
      error: (problem) => this.#fail(problem)
    };
    const dial = (to, cursor) => new Link(this.url, { ...options, lastEventId: cursor }, to);
    let tabs;
    try {
      if (mayShare(options)) tabs = new Tabs(JSON.stringify([OWN, this.url, options.user]), dial, tell, lastEventId);
    } catch {
    }
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
      this.#start = void 0;
      if (this.state !== "closed") this.#source.want(this.#wanted());
    });
  }
  #wanted() {
    const channels = [...this.#sequences.keys()];
    return { channels, fresh: channels.filter((name) => this.#isFresh(name)) };
  }
  #isFresh(name) {
    return this.#sequences.has(name) && this.#sequences.get(name) === void 0 && !this.#joins.has(name);
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
    if (had === void 0 || sequence <= had) return;
    if (sequence !== void 0) this.#sequences.set(channel, sequence);
    return (this.#channels.get(channel) ?? this).emit(event, new Message(frame));
  }
  /** The sequence of an id. If its epoch is new, the sequences known so far say nothing about it. */
  #sequenceOf(id) {
    if (!id?.includes("-")) return;
    const [epoch, sequence] = split(id);
    if (epoch !== this.#epoch) {
      for (const [name, had] of this.#sequences) if (had !== void 0) this.#sequences.set(name, -1);
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
      const from = isBehind(since, id) ? since : id;
      this.#begin({
        fresh,
        frames: [...first.map((frame) => ({ ...frame, id: "" })), ...join.rest.filter(isNew)],
        id: from
      });
      for (const name of told) this.#sequences.set(name, this.#sequenceOf(id));
      for (const frame of join.rest) this.#take(frame);
    };
    const tell = {
      opening,
      state() {
      },
      error: (problem) => this.#fail(problem),
      isSpared: () => true
    };
    const ask = () => {
      join.link = new Link(url, { ...this.#options, lastEventId: void 0 }, tell);
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
      if (this.#sequences.get(key) !== void 0) this.#sequences.set(key, -1);
      this.#channels.get(name)?.emit(event, { ...told, channels: [name] });
    }
    this.emit(event, { ...told, channels });
  }
  #become({ state, transport = this.transport }) {
    if (this.state === "closed" || state === this.state && transport === this.transport) return;
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
    if (channel !== void 0 && !problem.final && !this.#channels.has(channel)) return;
    this.#channels.get(channel)?.emit(OWN + "error", problem);
    this.emit(OWN + "error", problem);
    if (problem.final) this.close();
    else if (channel !== void 0) this.#leave(channel);
  }
};
export {
  Parser,
  SSEMux,
  pause
};
