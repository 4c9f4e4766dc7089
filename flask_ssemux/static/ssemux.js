// Built from client/src by `make client`. Documentation: docs/client.md

// client/src/cursor.js
var OWN = "ssemux.";
function splitCursor(cursor) {
  const cut = cursor.lastIndexOf("-");
  return [cursor.slice(0, cut), Number(cursor.slice(cut + 1))];
}
function isBehind(one, other) {
  if (!one || !other) return one;
  const [[epoch, sequence], [otherEpoch, otherSequence]] = [splitCursor(one), splitCursor(other)];
  return epoch !== otherEpoch || sequence < otherSequence;
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
  get isIdle() {
    return !this.#listeners.length;
  }
  emit(event, detail) {
    for (const [name, listener] of this.#listeners) {
      try {
        if (name === event || name === "*" && detail instanceof Message) listener(detail);
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

// client/src/mime.js
function readEssence(headers) {
  const header = (headers.get("Content-Type") ?? "").replace(/"[^"]*"/g, "");
  const types = header.split(",").map((type) => type.split(";")[0].trim().toLowerCase());
  return types.filter((type) => type.includes("/")).pop() ?? "";
}
function isStream({ status, headers }) {
  return status === 200 && readEssence(headers) === "text/event-stream";
}

// client/src/parser.js
var CHANNEL = "channel: ";
var Parser = class {
  #callbacks;
  #rest = "";
  #endsInCR = false;
  #fields = {};
  constructor(callbacks) {
    this.#callbacks = callbacks;
  }
  feed(text) {
    if (!text) return;
    const isSecondHalf = this.#endsInCR && text[0] === "\n";
    this.#endsInCR = text.endsWith("\r");
    const lines = (isSecondHalf ? text.slice(1) : text).split(/\r\n|\r|\n/);
    lines[0] = this.#rest + lines[0];
    this.#rest = lines.pop();
    for (const line of lines) this.#parseLine(line);
  }
  #parseLine(line) {
    if (!line) return this.#dispatchFrame();
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    const fields = this.#fields;
    if (name === "data") fields.data = fields.data === void 0 ? value : `${fields.data}
${value}`;
    else if (name === "event" || name === "channel") fields[name] = value;
    else if (!name && value.startsWith(CHANNEL)) fields.channel = value.slice(CHANNEL.length);
    else if (name === "id" && !value.includes("\0")) fields.id = value;
    else if (name === "retry" && /^[0-9]+$/.test(value)) this.#callbacks.retry(Number(value));
  }
  #dispatchFrame() {
    const { event, data, id, channel } = this.#fields;
    this.#fields = {};
    if (data !== void 0) this.#callbacks.frame({ event: event || "message", data, id, channel });
  }
};

// client/src/request.js
var Request = class {
  #abort = new AbortController();
  #heardAt = Date.now();
  isHeard = false;
  isSentAway;
  constructor(url, channels, options, callbacks) {
    this.channels = channels;
    this.#run(url, options, callbacks);
  }
  get silence() {
    return Date.now() - this.#heardAt;
  }
  end() {
    this.#abort.abort();
  }
  async #run(url, options, callbacks) {
    const { signal } = this.#abort;
    let problem;
    try {
      problem = await this.#readResponse(await this.#fetchResponse(url, options), callbacks);
    } catch (error) {
      problem = { message: String(error?.message ?? error), final: false };
    }
    if (!signal.aborted) {
      this.end();
      callbacks.end(this, problem);
    }
  }
  async #fetchResponse(url, options) {
    const { fetch = globalThis.fetch, credentials = "same-origin", method, body } = options;
    const all = { Accept: "text/event-stream", ...await readHeaders(options) };
    const { signal } = this.#abort;
    return fetch(url.href, { method, body, headers: all, credentials, cache: "no-store", signal });
  }
  async #readResponse(response, callbacks) {
    const problem = await findProblem(response);
    if (problem || this.#abort.signal.aborted) return problem;
    callbacks.open?.(response);
    const parser = new Parser({
      frame: (frame) => this.#abort.signal.aborted || callbacks.frame(this, frame),
      retry: (milliseconds) => {
        this.isSentAway = true;
        callbacks.retry(milliseconds);
      }
    });
    const [reader, decoder] = [response.body.getReader(), new TextDecoder()];
    for (; ; ) {
      const { done, value } = await reader.read();
      if (done || this.#abort.signal.aborted) return;
      this.#heardAt = Date.now();
      this.isHeard = true;
      callbacks.byte(this);
      parser.feed(decoder.decode(value, { stream: true }));
    }
  }
};
async function readHeaders({ headers }) {
  return typeof headers === "function" ? headers() : headers;
}
async function findProblem(response) {
  const { status, headers } = response;
  if (isStream(response)) return;
  const final = status === 204 || status >= 400 && status < 500 && ![408, 425, 429].includes(status);
  const body = readEssence(headers).includes("json") ? await response.json().catch(() => null) : null;
  if (status === 204) return { message: "the server ended it for good (HTTP 204)", status, final };
  const type = headers.get("Content-Type") || "of no type";
  const plain = status === 200 ? `the answer is ${type}, not a stream` : `HTTP ${status}`;
  return {
    message: body?.message ?? plain,
    status,
    final,
    channel: body?.channel,
    url: response.ok ? body?.url : void 0
  };
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
  #current;
  #next;
  #openTimer;
  #failures = 0;
  #silences = 0;
  #pollingFetch;
  #retry = RETRY;
  #timeout;
  #heartbeat = HEARTBEAT;
  #state;
  #checkedAt = Date.now();
  #checkTimer;
  constructor(url, options, callbacks) {
    Object.assign(this, { url, options, callbacks, cursor: options.lastEventId });
    this.#timeout = options.timeout ?? TIMEOUT;
    this.#checkSilence();
  }
  want({ channels, fresh, since }) {
    this.#channels = channels;
    this.#fresh = fresh;
    if (isBehind(since, this.#since)) this.#since = since;
    const isWaiting = this.#openTimer && !this.#current;
    if (!isWaiting && !this.#mayAwaitNext() && this.#lacksWanted(this.#next ?? this.#current)) this.#openStream();
  }
  wake(mayBeDead) {
    const current = this.#current;
    if (this.#openTimer || current && !this.#next && (mayBeDead || this.#isSilent(current))) this.#openStream();
  }
  #mayAwaitNext() {
    const next = this.#next;
    const isResumed = (name) => next.channels.includes(name) && !next.fresh.includes(name);
    const hasChannel = (name) => this.#fresh.includes(name) || isResumed(name);
    return next && !this.#isSilent(next) && this.#channels.every(hasChannel);
  }
  #lacksWanted(stream) {
    const hasNames = stream && haveSameNames(stream.channels, this.#channels) && haveSameNames(stream.fresh, this.#fresh);
    return !hasNames || isBehind(this.#since, stream.after);
  }
  #isSilent(stream) {
    return stream.silence > this.#heartbeat * 1.25;
  }
  close() {
    this.#state = "closed";
    clearTimeout(this.#checkTimer);
    clearTimeout(this.#openTimer);
    this.#current?.end();
    this.#next?.end();
    this.#current = this.#next = this.#openTimer = void 0;
  }
  get #isClosed() {
    return this.#state === "closed";
  }
  #openStream() {
    clearTimeout(this.#openTimer);
    this.#openTimer = void 0;
    this.#next?.end();
    if (!this.#current) this.#changeState("connecting");
    if (this.#isClosed) return;
    const after = this.#since ?? this.cursor;
    const where = buildAddress(this.url, this.#channels, this.#fresh, after);
    const fetch = this.#pollingFetch ?? this.options.fetch;
    const stream = new Request(
      where,
      this.#channels,
      { ...this.options, fetch },
      {
        byte: (stream2) => this.#noteByte(stream2),
        frame: (stream2, frame) => this.#takeFrame(stream2, frame),
        retry: (milliseconds) => this.#retry = milliseconds,
        end: (stream2, problem) => this.#handleEnd(stream2, problem)
      }
    );
    Object.assign(stream, { after, fresh: this.#fresh, opening: [] });
    this.#next = stream;
    setTimeout(() => stream === this.#next && !stream.isHeard && this.#startPolling(), PATIENCE);
  }
  async #startPolling() {
    const { polling } = await import("./ssemux-poll.js").catch(() => ({}));
    if (!polling || this.#pollingFetch || this.#current || this.#isClosed) return;
    this.#pollingFetch = polling(this.options, () => {
      this.#pollingFetch = void 0;
      this.#changeState(this.#state);
    });
    this.#openStream();
  }
  #noteByte(stream) {
    if (Date.now() - stream.opened > PATIENCE) this.#silences = 0;
    if (this.#state === "stale" && stream === this.#current) this.#changeState("open");
    this.callbacks.byte?.();
  }
  #takeFrame(stream, frame) {
    const { event, data, id } = frame;
    if (event === OWN + "hello") this.#applyHello(JSON.parse(data));
    if (stream === this.#next) {
      stream.opening.push(frame);
      if (id) this.#switchStream(stream, id);
    } else if (!(this.#next && event === OWN + "replaced")) {
      this.cursor = id || this.cursor;
      this.callbacks.frame(frame);
    }
  }
  #switchStream(stream, id) {
    const { after, channels, opening } = stream;
    const fresh = after ? stream.fresh : channels;
    this.#current?.end();
    this.#current = stream;
    this.cursor = id;
    this.#next = void 0;
    this.#failures = 0;
    this.#fresh = this.#fresh.filter((name) => !fresh.includes(name));
    if (!isBehind(this.#since, after)) this.#since = void 0;
    Object.assign(stream, { after: void 0, fresh: [], opened: Date.now() });
    this.#changeState("open");
    if (!this.#isClosed) this.callbacks.opening({ since: after, channels, fresh, frames: opening, id });
    if (!this.#next && this.#lacksWanted(stream)) this.#openStream();
  }
  #applyHello({ heartbeat, timeout }) {
    this.#heartbeat = heartbeat * 1e3;
    this.#timeout = timeout * 1e3;
    this.#checkSilence();
  }
  #handleEnd(stream, problem) {
    const isNext = stream === this.#next;
    const isSentAway = stream.isSentAway && !problem;
    if (isNext) this.#next = void 0;
    else this.#current = void 0;
    if (this.#isChannelRefused(stream, problem)) return this.#dropRefusedChannel(problem);
    if (problem) this.callbacks.error(problem);
    const hasNoRoom = isNext && this.#current && isSentAway && !stream.opening.length;
    if (hasNoRoom) {
      this.#current.end();
      this.#current = void 0;
    }
    if (!this.#current) this.#changeState("connecting");
    if (isNext && !isSentAway) this.#failures += 1;
    if (!this.#next) this.#scheduleOpen(hasNoRoom ? VACATED : pause(this.#retry, this.#failures));
  }
  #scheduleOpen(milliseconds) {
    clearTimeout(this.#openTimer);
    if (!this.#isClosed) this.#openTimer = setTimeout(() => this.#openStream(), milliseconds);
  }
  #isChannelRefused({ channels }, problem) {
    const isOurs = [401, 403].includes(problem?.status) && channels.includes(problem.channel);
    const isWanted = this.#channels.includes(problem?.channel);
    return isOurs && (!isWanted || this.#current || this.#channels.length > 2 || this.callbacks.isSpared?.());
  }
  #dropRefusedChannel(problem) {
    const without = (names) => names.filter((name) => name !== problem.channel);
    this.#channels = without(this.#channels);
    this.#fresh = without(this.#fresh);
    this.callbacks.error({ ...problem, final: false });
    if (!this.#current || !haveSameNames(this.#current.channels, this.#channels)) this.#openStream();
  }
  #changeState(state) {
    if (this.#isClosed) return;
    this.#state = state;
    this.callbacks.state({ state, transport: this.#pollingFetch ? "poll" : "stream", heartbeat: this.#heartbeat });
  }
  #checkSilence() {
    clearTimeout(this.#checkTimer);
    const every = Math.min(TICK, this.#timeout / 8);
    const now = Date.now();
    const hasSlept = now - this.#checkedAt > every + TICK;
    this.#checkedAt = now;
    if (hasSlept) this.wake();
    else for (const stream of [this.#current, this.#next]) this.#checkStream(stream);
    if (!this.#isClosed) this.#checkTimer = setTimeout(() => this.#checkSilence(), every);
  }
  #checkStream(stream) {
    if (stream?.silence > this.#timeout) {
      stream.end();
      if (!this.#next) this.#silences += 1;
      this.#handleEnd(stream, { message: `nothing came for ${this.#timeout / 1e3} s`, final: false });
      if (this.#silences > 1) this.#startPolling();
    } else if (stream && stream === this.#current && stream.silence > this.#heartbeat * 2) {
      this.#changeState("stale");
    }
  }
};
function buildAddress(url, channels, fresh, cursor) {
  const address = new URL(url);
  const add = (key, names) => names.forEach((name) => name && address.searchParams.append(key, name));
  add("channel", channels);
  add("lastEventId", [cursor]);
  if (cursor) add("new", fresh);
  return address;
}
function haveSameNames(some, others) {
  return some.length === others.length && some.every((name) => others.includes(name));
}

// client/src/page.js
function watchPage({ wake, suspend, resume }, signal) {
  const { document } = globalThis;
  const on = (where, event, act) => where?.addEventListener?.(event, act, { signal });
  on(globalThis, "online", () => wake(true));
  on(document, "visibilitychange", () => document.hidden || resume() || wake());
  on(globalThis, "pagehide", suspend);
  on(document, "freeze", suspend);
  on(globalThis, "pageshow", resume);
  on(document, "resume", resume);
}
function resolveURL(url) {
  return new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href).href;
}

// client/src/run.js
var SILENCE = 12e4;
var INCOMPLETE = ["failed", "lost"];
var SPREAD = 2e3;
var Run = class extends Emitter {
  state = "connecting";
  url;
  #startURL;
  #options;
  #post;
  #link;
  #cursor;
  #kept = [];
  #isIterated;
  #wake;
  #problem;
  #isSuspended;
  #silenceTimer;
  #pause;
  #abort = new AbortController();
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
        resume: () => this.#resume()
      },
      this.#abort.signal
    );
  }
  get id() {
    return this.url && new URL(this.url).pathname.split("/").pop();
  }
  on(event, listener) {
    if (!this.#isIterated && !event.startsWith(OWN)) this.#kept = void 0;
    return super.on(event, listener);
  }
  close() {
    this.#finish("closed");
  }
  async *[Symbol.asyncIterator]() {
    this.#isIterated = true;
    this.#kept ??= [];
    try {
      for (; ; ) {
        while (this.#kept.length) yield this.#kept.shift();
        if (this.#isOver) break;
        await new Promise((wake) => this.#wake = wake);
      }
    } finally {
      this.close();
    }
    if (this.#problem) throw this.#problem;
  }
  get #isOver() {
    return this.#abort.signal.aborted;
  }
  #start(url) {
    this.#startURL = new URL(url);
    this.#post = new Request(this.#startURL, [], this.#options, {
      open: (response) => this.#takeAnswer(response),
      byte: () => this.#limitSilence(),
      frame: (_, frame) => this.#takeFrame(frame),
      retry: (milliseconds) => this.#pause = milliseconds,
      end: (_, problem) => this.#endPost(problem)
    });
  }
  #takeAnswer({ headers, redirected, url }) {
    const where = headers.get("Content-Location") ?? (redirected ? url : void 0);
    if (where) this.url = new URL(where, url).href;
    this.#limitSilence();
    this.#changeState("open");
  }
  #limitSilence() {
    clearTimeout(this.#silenceTimer);
    this.#silenceTimer = setTimeout(() => this.#wakeUp(true), this.#options.timeout ?? SILENCE);
  }
  #endPost(problem = { message: "the answer ended before the run" }) {
    this.#post = void 0;
    clearTimeout(this.#silenceTimer);
    if (problem.url) return this.#read(new URL(problem.url, this.#startURL).href);
    this.#report({ ...problem, final: !this.url });
    if (this.#isOver) return;
    this.#changeState("connecting");
    setTimeout(() => this.#read(this.url), this.#pause ?? Math.random() * SPREAD);
  }
  #read(url) {
    this.url = url;
    if (this.#link || this.#isSuspended || this.#isOver) return;
    const options = { ...this.#options, method: void 0, body: void 0, lastEventId: this.#cursor };
    this.#link = new Link(url, options, {
      opening: ({ frames }) => frames.forEach((frame) => this.#takeFrame(frame)),
      frame: (frame) => this.#takeFrame(frame),
      state: ({ state }) => this.#changeState(state),
      error: (problem) => this.#report(problem)
    });
    this.#link.want({ channels: [], fresh: [] });
  }
  #wakeUp(mayBeDead) {
    this.#link?.wake(mayBeDead);
    if (!this.#post || !this.url || !mayBeDead) return;
    this.#post.end();
    this.#endPost({ message: "the connection may be dead" });
  }
  #suspend() {
    if (!this.url) return;
    this.#isSuspended = true;
    this.#post?.end();
    this.#link?.close();
    this.#post = this.#link = void 0;
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
    if (id && this.#cursor && !isBehind(this.#cursor, id)) return;
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
};

// client/src/tabs.js
var ANSWER = 3e3;
var ALIVE = 1e3;
var GATHER = 50;
function mayShare({ shared = true, headers, fetch, user }) {
  const isClear = user !== void 0 || !(headers || fetch);
  return shared && isClear && globalThis.document && navigator.locks && globalThis.BroadcastChannel;
}
var Tabs = class {
  #broadcast;
  #id = crypto.randomUUID();
  #tabs = /* @__PURE__ */ new Map();
  #link;
  #linkChannels = [];
  #state = { state: "connecting" };
  #leader;
  #ownLock;
  #isInOrder;
  #knowsLeader;
  #heardAt = 0;
  #sentAt = 0;
  #checkTimer;
  #pingTimer;
  #abort = new AbortController();
  #closed = new Promise((resolve) => this.#abort.signal.addEventListener("abort", resolve));
  constructor(name, createLink, callbacks, cursor) {
    Object.assign(this, { name, createLink, callbacks, cursor });
    this.#isInOrder = !cursor;
    this.#broadcast = new BroadcastChannel(name);
    this.#broadcast.onmessage = ({ data }) => this.#takeMessage(data);
    const hold = (ready) => this.#holdLock(name + this.#id, {}, () => this.#keepLock(ready)).catch(() => {
    });
    this.#ownLock = new Promise(hold);
    this.#requestLead({});
    this.#checkLeader();
  }
  get #heartbeat() {
    return this.#state.heartbeat ?? HEARTBEAT;
  }
  want(wanted) {
    if (this.#link) this.#noteWanted(this.#id, wanted);
    else this.#sendWanted();
  }
  wake(mayBeDead) {
    this.#link?.wake(mayBeDead);
    if (!this.#link) this.#pingLeader();
  }
  close() {
    this.#abort.abort();
    clearTimeout(this.#checkTimer);
    clearTimeout(this.#pingTimer);
    this.#broadcast.close();
    this.#giveUpLead();
  }
  async #holdLock(name, options, held) {
    const signal = options.steal ? void 0 : this.#abort.signal;
    return navigator.locks.request(name, { ...options, signal }, held);
  }
  #keepLock(ready) {
    ready();
    return this.#closed;
  }
  #requestLead(options) {
    const lost = ({ name }) => {
      this.#giveUpLead();
      if (this.#abort.signal.aborted) return;
      if (name === "AbortError") return options.steal || this.#requestLead({});
      this.#broadcast.onmessage = null;
      return this.#becomeLeader();
    };
    this.#holdLock(this.name, options, () => this.#becomeLeader()).catch(lost);
  }
  #becomeLeader() {
    if (this.#abort.signal.aborted) return;
    this.#tabs = /* @__PURE__ */ new Map([[this.#id, this.callbacks.listWanted()]]);
    this.#send({ is: "who" });
    setTimeout(() => this.#openLink(), GATHER);
    return this.#closed;
  }
  #openLink() {
    if (!this.#tabs.size || this.#link) return;
    const pass = (is) => (it) => this.#passOn(is, it);
    this.#link = this.createLink(
      {
        opening: (it) => {
          this.#linkChannels = it.channels;
          this.#passOn("opening", it);
        },
        frame: pass("frame"),
        state: pass("state"),
        error: pass("error"),
        byte: () => Date.now() - this.#sentAt < ALIVE || this.#send({ is: "alive" }),
        isSpared: () => this.#tabs.size > 1
      },
      this.cursor
    );
    this.callbacks.leads(true);
    this.#noteWanted(this.#id, this.callbacks.listWanted());
  }
  #giveUpLead() {
    this.#link?.close();
    this.#link = void 0;
    this.#tabs.clear();
    this.#linkChannels = [];
    this.callbacks.leads(false);
  }
  #checkLeader() {
    if (this.#link) this.#send({ is: "alive" });
    else if (Date.now() - this.#heardAt > this.#heartbeat / 2) this.#pingLeader();
    this.#checkTimer = setTimeout(() => this.#checkLeader(), Math.min(TICK, this.#heartbeat / 8));
  }
  #pingLeader() {
    const asked = Date.now();
    this.#send({ is: "ping" });
    this.#pingTimer ??= setTimeout(
      () => {
        this.#pingTimer = void 0;
        if (this.#heardAt < asked && !this.#tabs.size && !this.#abort.signal.aborted)
          this.#requestLead({ steal: true });
      },
      Math.min(ANSWER, this.#heartbeat)
    );
  }
  #send(message) {
    this.#sentAt = Date.now();
    if (!this.#abort.signal.aborted) this.#broadcast.postMessage({ from: this.#id, ...message });
  }
  #passOn(is, it) {
    this.#send({ is, it });
    this.#takeNews({ is, it });
  }
  async #sendWanted() {
    await this.#ownLock;
    this.#send({ is: "want", ...this.callbacks.listWanted(), cursor: this.#isInOrder ? void 0 : this.cursor });
  }
  #takeMessage(message) {
    const { is, from } = message;
    if (is === "want") return this.#tabs.size && this.#noteWanted(from, message);
    if (is === "ping") return this.#link && this.#answerPing();
    if (is === "who") return this.#followLeader(from);
    this.#leader ??= from;
    if (this.#link || from !== this.#leader) return;
    this.#heardAt = Date.now();
    return this.#takeNews(message);
  }
  #followLeader(leader) {
    this.#leader = leader;
    this.#heardAt = Date.now();
    this.#isInOrder = !this.cursor;
    this.#giveUpLead();
    this.#sendWanted();
  }
  #answerPing() {
    this.#link.wake();
    this.#send({ is: "state", it: this.#state });
  }
  #takeNews({ is, it }) {
    if (is === "opening" || is === "reads") {
      this.#knowsLeader = true;
      this.#isInOrder ||= !isBehind(this.cursor, it.since);
    }
    if (is === "opening" || is === "frame") {
      if (!this.#isInOrder) return;
      this.cursor = it.id || this.cursor;
    }
    if (is === "reads") this.cursor ??= it.since;
    if (is === "state") this.#state = it;
    if (is !== "state" || this.#knowsLeader) this.callbacks[is]?.(it);
    if (is === "opening") this.callbacks.reads({ channels: it.channels, since: it.id });
  }
  #noteWanted(from, { channels, fresh, cursor }) {
    const isNew = !this.#tabs.has(from);
    const since = isNew && isBehind(cursor, this.cursor) ? cursor : void 0;
    this.#tabs.set(from, { channels, fresh });
    if (isNew) this.#holdLock(this.name + from, {}, () => this.#forgetTab(from)).catch(() => {
    });
    if (this.#link) this.#updateLink(since);
    else if (since) this.cursor = since;
  }
  #forgetTab(tab) {
    if (this.#tabs.delete(tab) && this.#link) this.#updateLink();
  }
  #updateLink(since) {
    const tabs = [...this.#tabs.values()];
    const channels = [...new Set(tabs.flatMap((tab) => tab.channels))];
    const known = tabs.flatMap((tab) => tab.channels.filter((name) => !tab.fresh.includes(name)));
    const fresh = channels.filter((name) => !known.includes(name) && !this.#linkChannels.includes(name));
    this.#passOn("reads", { channels: this.#linkChannels, since: this.cursor });
    this.#link?.want({ channels, fresh, since });
    this.#send({ is: "state", it: this.#state });
  }
};

// client/src/mux.js
var SSEMux = class extends Emitter {
  #channels = /* @__PURE__ */ new Map();
  #sequences = /* @__PURE__ */ new Map();
  #joins = /* @__PURE__ */ new Map();
  #epoch;
  #startSequence;
  #source;
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
    if (lastEventId !== void 0) [this.#epoch, this.#startSequence] = splitCursor(lastEventId);
    this.#sequences.set("", this.#startSequence);
    this.#connect(lastEventId);
    watchPage(
      {
        wake: (mayBeDead) => this.#source.wake(mayBeDead),
        suspend: () => this.#suspendPage(),
        resume: () => this.#resumePage()
      },
      this.#abort.signal
    );
    this.#scheduleUpdate();
  }
  #connect(lastEventId) {
    const options = this.#options;
    const callbacks = {
      listWanted: () => this.#listWanted(),
      opening: (opening) => this.#beginChannels(opening),
      reads: ({ channels, since }) => this.#joinChannels(channels, since),
      frame: (frame) => this.#takeFrame(frame),
      state: (now) => this.#changeState(now),
      error: (problem) => this.#reportError(problem),
      leads: (leader) => this.#changeLeader(leader)
    };
    const openLink = (its, cursor) => new Link(this.url, { ...options, lastEventId: cursor }, its);
    let tabs;
    try {
      const name = JSON.stringify([OWN, this.url, options.user]);
      if (mayShare(options)) tabs = new Tabs(name, openLink, callbacks, lastEventId);
    } catch {
    }
    this.#source = tabs ?? openLink(callbacks, lastEventId);
    if (!tabs) queueMicrotask(() => this.#changeLeader(!this.#isSuspended && this.state !== "closed"));
  }
  channel(name) {
    let channel = this.#channels.get(name);
    if (!channel) {
      const made = new Channel(name, () => this.#channels.get(name) === made && this.#leaveChannel(name));
      this.#channels.set(name, channel = made);
      this.#sequences.set(name, this.#startSequence);
      this.#scheduleUpdate();
    }
    return channel;
  }
  run(url, options = {}) {
    const headers = async () => ({ ...await readHeaders(this.#options), ...await readHeaders(options) });
    return new Run(url, { ...this.#options, lastEventId: void 0, ...options, headers });
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
  #scheduleUpdate() {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setTimeout(() => {
      this.#isScheduled = false;
      this.#startSequence = void 0;
      if (this.state !== "closed") this.#source.want(this.#listWanted());
    });
  }
  #listWanted() {
    const channels = [...this.#sequences.keys()];
    return { channels, fresh: channels.filter((name) => this.#isFresh(name)) };
  }
  #isFresh(name) {
    return this.#sequences.has(name) && this.#sequences.get(name) === void 0 && !this.#joins.has(name);
  }
  #suspendPage() {
    this.#isSuspended = true;
    this.#source.close();
    for (const { link } of this.#joins.values()) link.close();
    this.#changeLeader(false);
    this.#changeState({ state: "connecting" });
  }
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
    if (had === void 0 || sequence <= had) return;
    if (sequence !== void 0) this.#sequences.set(channel, sequence);
    return (this.#channels.get(channel) ?? this).emit(event, new Message(frame));
  }
  #readSequence(id) {
    if (!id?.includes("-")) return;
    const [epoch, sequence] = splitCursor(id);
    if (epoch !== this.#epoch) {
      for (const [name, had] of this.#sequences) if (had !== void 0) this.#sequences.set(name, -1);
      this.#epoch = epoch;
    }
    return sequence;
  }
  #beginChannels({ fresh, frames, id }) {
    const begun = fresh.filter((name) => this.#isFresh(name));
    for (const name of begun) this.#sequences.set(name, -1);
    for (const frame of frames) this.#takeFrame(frame);
    const sequence = this.#readSequence(id);
    for (const name of begun) if (this.#sequences.get(name) === -1) this.#sequences.set(name, sequence);
  }
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
      const from = isBehind(since, id) ? since : id;
      this.#beginChannels({
        fresh,
        frames: [...first.map((frame) => ({ ...frame, id: "" })), ...join.rest.filter(isNew)],
        id: from
      });
      for (const name of withState) this.#sequences.set(name, this.#readSequence(id));
      for (const frame of join.rest) this.#takeFrame(frame);
    };
    const callbacks = {
      opening,
      state() {
      },
      error: (problem) => this.#reportError(problem),
      isSpared: () => true
    };
    const ask = () => {
      join.link = new Link(url, { ...this.#options, lastEventId: void 0 }, callbacks);
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
      if (this.#sequences.get(key) !== void 0) this.#sequences.set(key, -1);
      this.#channels.get(name)?.emit(event, { ...detail, channels: [name] });
    }
    this.emit(event, { ...detail, channels });
  }
  #changeState({ state, transport = this.transport }) {
    if (this.state === "closed" || state === this.state && transport === this.transport) return;
    Object.assign(this, { state, transport });
    if (state === "closed") {
      this.#abort.abort();
      this.#source.close();
      for (const { link } of this.#joins.values()) link.close();
      this.#changeLeader(false);
    }
    this.emit(OWN + state, { state, transport });
  }
  #changeLeader(leader) {
    if (leader === this.leader) return;
    this.leader = leader;
    this.emit(OWN + "leader", { leader });
  }
  #reportError(problem) {
    const { channel } = problem;
    if (channel !== void 0 && !problem.final && !this.#channels.has(channel)) return;
    this.#channels.get(channel)?.emit(OWN + "error", problem);
    this.emit(OWN + "error", problem);
    if (problem.final) this.close();
    else if (channel !== void 0) this.#leaveChannel(channel);
  }
};
export {
  Parser,
  Run,
  SSEMux,
  pause
};
