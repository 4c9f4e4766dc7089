// Link: keeps a stream open. When the stream ends, or other channels are wanted, the link opens the next stream.

import { isBehind, OWN } from "./cursor.js";
import { Request } from "./request.js";

const TIMEOUT = 120_000; // ms without a byte after which a stream is given up
export const HEARTBEAT = 20_000; // ms; the server's `ssemux.hello` says what it is
const RETRY = 3_000; // ms until the next try, unless the server sends another `retry:`
const LONGEST_WAIT = 60_000; // ms: the maximum to which repeated failures raise the pause
export const TICK = 5_000; // ms between two checks of the clock, at most
const PATIENCE = 1_000; // ms within which a stream's first byte is expected
const VACATED = 250; // ms until the server has noticed that a stream was given up

/** Return the ms until the next try: doubled with each failure after the first, and up to half longer at random. */
export function pause(retry, failures, random = Math.random()) {
  const doubled = retry * 2 ** Math.max(failures - 1, 0);
  return Math.min(doubled, Math.max(retry, LONGEST_WAIT)) * (1 + random / 2);
}

/**
 * Calls `callbacks.opening` with what a stream sends up to its first cursor, then `.frame` with each frame, `.state`, and
 * `.error`. Two more are optional: `.byte`, and `.isSpared`, which says whether others go on after a channel was refused.
 */
export class Link {
  #channels = [];
  #fresh = [];
  #since; // the cursor of a tab that is behind, until a stream has resumed from there
  #current; // the stream that has sent its first cursor
  #next; // the stream that shall replace it, until it has sent its first cursor
  #openTimer;
  #failures = 0;
  #silences = 0; // streams in a row that opened and were then silent
  #pollingFetch; // the `fetch` that polls, if something holds streams back
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

  /** Read these channels. Those in `fresh` begin now; all others resume after the cursor, or after `since`. */
  want({ channels, fresh, since }) {
    this.#channels = channels;
    this.#fresh = fresh;
    if (isBehind(since, this.#since)) this.#since = since;
    const isWaiting = this.#openTimer && !this.#current;
    if (!isWaiting && !this.#mayAwaitNext() && this.#lacksWanted(this.#next ?? this.#current)) this.#openStream();
  }

  /** The network or the page is back: open the stream that is due, or replace one that is silent or `mayBeDead`. */
  wake(mayBeDead) {
    const current = this.#current;
    if (this.#openTimer || (current && !this.#next && (mayBeDead || this.#isSilent(current)))) this.#openStream();
  }

  /**
   * Return whether what is wanted can wait until the next stream has sent its first cursor. The server may have opened this
   * stream already: its new channels begin there, and not later because other channels changed meanwhile.
   */
  #mayAwaitNext() {
    const next = this.#next;
    // a channel that is read already, or whose reader has a cursor, would miss events if the next stream does not resume it
    const isResumed = (name) => next.channels.includes(name) && !next.fresh.includes(name);
    const hasChannel = (name) => this.#fresh.includes(name) || isResumed(name);
    return next && !this.#isSilent(next) && this.#channels.every(hasChannel);
  }

  #lacksWanted(stream) {
    const hasNames =
      stream && haveSameNames(stream.channels, this.#channels) && haveSameNames(stream.fresh, this.#fresh);
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
    this.#current = this.#next = this.#openTimer = undefined;
  }

  get #isClosed() {
    return this.#state === "closed";
  }

  #openStream() {
    clearTimeout(this.#openTimer);
    this.#openTimer = undefined;
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
        byte: (stream) => this.#noteByte(stream),
        frame: (stream, frame) => this.#takeFrame(stream, frame),
        retry: (milliseconds) => (this.#retry = milliseconds),
        end: (stream, problem) => this.#handleEnd(stream, problem),
      },
    );
    Object.assign(stream, { after, fresh: this.#fresh, opening: [] });
    this.#next = stream;
    setTimeout(() => stream === this.#next && !stream.isHeard && this.#startPolling(), PATIENCE);
  }

  async #startPolling() {
    const { polling } = await import("./ssemux-poll.js").catch(() => ({}));
    if (!polling || this.#pollingFetch || this.#current || this.#isClosed) return;
    this.#pollingFetch = polling(this.options, () => {
      this.#pollingFetch = undefined;
      this.#changeState(this.#state);
    });
    this.#openStream();
  }

  #noteByte(stream) {
    if (Date.now() - stream.opened > PATIENCE) this.#silences = 0; // bytes after the opening arrive too
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
      // the next stream may have taken the user slot of the current one: that is not an event for the page
      this.cursor = id || this.cursor;
      this.callbacks.frame(frame);
    }
  }

  /** The next stream has sent its first cursor, so it sends all that the current one would. */
  #switchStream(stream, id) {
    const { after, channels, opening } = stream;
    const fresh = after ? stream.fresh : channels;
    this.#current?.end();
    this.#current = stream;
    this.cursor = id;
    this.#next = undefined;
    this.#failures = 0;
    this.#fresh = this.#fresh.filter((name) => !fresh.includes(name));
    if (!isBehind(this.#since, after)) this.#since = undefined;
    Object.assign(stream, { after: undefined, fresh: [], opened: Date.now() });
    this.#changeState("open");
    if (!this.#isClosed) this.callbacks.opening({ since: after, channels, fresh, frames: opening, id });
    if (!this.#next && this.#lacksWanted(stream)) this.#openStream(); // what was wanted meanwhile
  }

  #applyHello({ heartbeat, timeout }) {
    this.#heartbeat = heartbeat * 1000;
    this.#timeout = timeout * 1000;
    this.#checkSilence();
  }

  #handleEnd(stream, problem) {
    const isNext = stream === this.#next;
    const isSentAway = stream.isSentAway && !problem;
    if (isNext) this.#next = undefined;
    else this.#current = undefined;
    if (this.#isChannelRefused(stream, problem)) return this.#dropRefusedChannel(problem);
    if (problem) this.callbacks.error(problem);
    const hasNoRoom = isNext && this.#current && isSentAway && !stream.opening.length;
    if (hasNoRoom) {
      this.#current.end(); // the server has no room for two streams
      this.#current = undefined;
    }
    if (!this.#current) this.#changeState("connecting");
    if (isNext && !isSentAway) this.#failures += 1;
    if (!this.#next) this.#scheduleOpen(hasNoRoom ? VACATED : pause(this.#retry, this.#failures));
  }

  #scheduleOpen(milliseconds) {
    clearTimeout(this.#openTimer);
    if (!this.#isClosed) this.#openTimer = setTimeout(() => this.#openStream(), milliseconds);
  }

  /** Return whether the server refused one channel while others may be read, or one that is no longer wanted. */
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
      this.#handleEnd(stream, { message: `nothing came for ${this.#timeout / 1000} s`, final: false });
      if (this.#silences > 1) this.#startPolling();
    } else if (stream && stream === this.#current && stream.silence > this.#heartbeat * 2) {
      this.#changeState("stale");
    }
  }
}

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
