// A Link keeps a stream open: when it ends, or its channels change, another one follows.

import { isBehind, OWN } from "./cursor.js";
import { Request } from "./request.js";

const TIMEOUT = 120_000; // ms without a byte after which a stream is given up
export const HEARTBEAT = 20_000; // ms
const RETRY = 3_000; // ms
const LONGEST_WAIT = 60_000; // ms
export const TICK = 5_000; // ms between two looks at the clock, at most
const PATIENCE = 1_000; // ms in which a stream's first byte is expected
const VACATED = 250; // ms until the server has seen that a stream was given up

/** The milliseconds until the next attempt. They double with each failure after the first. */
export function pause(retry, failures, random = Math.random()) {
  const doubled = retry * 2 ** Math.max(failures - 1, 0);
  return Math.min(doubled, Math.max(retry, LONGEST_WAIT)) * (1 + random / 2);
}

export class Link {
  #channels = [];
  #fresh = [];
  #since; // the cursor of a tab that is behind
  #current; // the request whose opening frames have come
  #next; // the request that will replace it
  #timer;
  #failures = 0;
  #silences = 0; // time-outs without an event, in a row
  #fetch; // the polling fetch, where streams are held back
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

  get #isOver() {
    return this.#state === "closed";
  }

  #open() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
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
        byte: (stream) => this.#heardOf(stream),
        frame: (stream, frame) => this.#take(stream, frame),
        retry: (milliseconds) => (this.#retry = milliseconds),
        end: (stream, problem) => this.#ended(stream, problem),
      },
    );
    Object.assign(stream, { after, fresh: this.#fresh, opening: [] });
    this.#next = stream;
    setTimeout(() => stream === this.#next && !stream.isHeard && this.#poll(), PATIENCE);
  }

  async #poll() {
    const { polling } = await import("./ssemux-poll.js").catch(() => ({}));
    if (!polling || this.#fetch || this.#current || this.#isOver) return;
    this.#fetch = polling(this.options, () => {
      this.#fetch = undefined;
      this.#become(this.#state);
    });
    this.#open();
  }

  #heardOf(stream) {
    if (Date.now() - stream.opened > PATIENCE) this.#silences = 0; // frames after the opening arrive
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
      // an own request that follows does not count as another client
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
    this.#next = this.#since = undefined;
    this.#failures = 0;
    this.#fresh = stream.fresh = [];
    stream.opened = Date.now();
    this.#become("open");
    if (!this.#isOver) this.tell.opening({ since: after, channels, fresh, frames: opening, id });
  }

  #obey({ heartbeat, timeout }) {
    this.#heartbeat = heartbeat * 1000;
    this.#timeout = timeout * 1000;
    this.#look();
  }

  #ended(stream, problem) {
    const isNext = stream === this.#next;
    const isSentAway = stream.isSentAway && !problem;
    if (isNext) this.#next = undefined;
    else this.#current = undefined;
    if (this.#isRefused(problem)) return this.#refused(problem);
    if (problem) this.tell.error(problem);
    const hasNoRoom = isNext && this.#current && isSentAway && !stream.opening.length;
    if (hasNoRoom) {
      this.#current.end(); // the server has no room for two
      this.#current = undefined;
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
      this.#ended(stream, { message: `nothing came for ${this.#timeout / 1000} s`, final: false });
      if (this.#silences > 1) this.#poll();
    } else if (stream && stream === this.#current && stream.silence > this.#heartbeat * 2) {
      this.#become("stale");
    }
  }
}

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
