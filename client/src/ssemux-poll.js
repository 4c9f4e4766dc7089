// A `fetch` for networks that hold streams back. link.js decides when it is needed, and loads it then.
//
// Its response reads like a stream and is made of polls: answers that end, which pass every proxy. Beside the polls it tries
// a stream now and then. Of the format it knows only ids, the ends of frames, and the answer that sends a client away.

const AGAIN = 300_000; // ms between two trials of a stream
const TRIAL = 45_000; // ms that a trial lasts: two of the server's heartbeats
const LATER = 1_000; // ms after the opening, which some proxies let pass before they hold what follows
const QUICK = 250; // ms: an answer without events that comes faster is not held open by the server
const PAUSE = 1_000; // ms to wait after such an answer
const GONE = 500; // ms after which the server has seen that a stream was given up
const ALONE = 250; // ms of silence before and after a chunk that arrives alone
const LITTLE = 512; // characters; no proxy forwards in blocks as small

/**
 * A `fetch` that polls.
 *
 * @param options the client's options `fetch` and `headers`; `headers` is called for each poll.
 * @param passed called when a stream arrives again; the body continues with that stream.
 */
export function polling(options, passed, times) {
  const when = { next: 0, gaveUp: true, again: AGAIN, trial: TRIAL, ...times };
  return async (url, init) => {
    const polls = new Polls(options, url, init, when);
    const first = await polls.ask("now");
    if (!isStream(first)) return first;
    const body = new ReadableStream({ start: (sink) => void polls.run(first, sink, passed) });
    return new Response(body, { headers: { "Content-Type": "text/event-stream" } });
  };
}

class Polls {
  #options;
  #url;
  #init;
  #when;
  #isBegun = false;
  #abort = new AbortController(); // for polls
  #trial; // the AbortController of a stream that is tried
  #found; // a stream that arrives: its reader, and what was read

  constructor(options, url, init, when) {
    this.#options = options;
    this.#url = new URL(url);
    this.#init = init;
    this.#when = when;
    init.signal.addEventListener("abort", () => this.#stop());
    if (init.signal.aborted) this.#stop(); // the event for that is over
  }

  ask(poll) {
    this.#url.searchParams.set("poll", poll);
    return this.#get(this.#url, this.#abort);
  }

  /** Fill the response's body. */
  async run(first, sink, passed) {
    try {
      await this.#poll(first, sink).catch((error) => {
        if (!this.#found) throw error;
      });
      if (this.#found && !this.#init.signal.aborted) {
        passed();
        await this.#follow(this.#found, sink);
      }
      sink.close();
    } catch (error) {
      sink.error(error);
    }
    this.#stop();
  }

  /** Poll until a stream is found, or until the server sends the client away. */
  async #poll(answer, sink) {
    const encoder = new TextEncoder();
    let asked = 0;
    while (isStream(answer)) {
      const text = await answer.text();
      if ((this.#trial || this.#when.gaveUp) && isCrowdedOut(text)) {
        answer = await this.#askAlone();
        continue;
      }
      this.#when.gaveUp = false;
      sink.enqueue(encoder.encode(text));
      if (isLast(text)) return;
      if (!this.#moveTo(text) && Date.now() - asked < QUICK) await wait(PAUSE);
      if (!this.#trial && Date.now() >= this.#when.next) this.#try();
      asked = Date.now();
      answer = await this.ask("1");
    }
  }

  /** Let the next poll continue after these frames. Returns whether they moved the cursor. */
  #moveTo(text) {
    const { searchParams } = this.#url;
    const [, cursor] = [...text.matchAll(/^id: (.+)$/gm)].pop() ?? [];
    const isFurther = Boolean(cursor) && cursor !== searchParams.get("lastEventId");
    if (isFurther) searchParams.set("lastEventId", cursor);
    searchParams.delete("new");
    return isFurther;
  }

  /** The user's slot may still belong to a stream that was just given up, or to the trial, which ends here. */
  async #askAlone() {
    this.#trial?.abort();
    this.#trial = undefined;
    this.#when.gaveUp = false;
    await wait(GONE);
    return this.#get(this.#url, this.#abort);
  }

  /** Try a stream beside the polls. If the server has no room for it, the next trial waits as long as after a stream that was held back. */
  async #try() {
    const trial = (this.#trial = new AbortController());
    const when = this.#when;
    when.next = Date.now() + when.again;
    const limit = setTimeout(() => trial.abort(), when.trial);
    const found = await this.#listen(trial).catch(() => {}); // a stream that was held back ends by the time limit
    clearTimeout(limit);
    if (this.#trial !== trial) return undefined;
    if (found && !trial.signal.aborted) {
      this.#found = found;
      return this.#abort.abort();
    }
    if (this.#init.signal.aborted)
      Object.assign(when, { next: 0, gaveUp: true }); // the Link continues with another request
    else if (this.#abort.signal.aborted) this.#ended(""); // the trial ends with the polls
    return (this.#trial = undefined);
  }

  /** Read a stream until a chunk of it arrives alone: then nothing holds the stream back. */
  async #listen(trial) {
    const url = new URL(this.#url);
    url.searchParams.delete("poll");
    const reader = (await this.#get(url, trial)).body.getReader();
    const [read, decoder, latest] = [[], new TextDecoder(), new Arrival()];
    for (;;) {
      const next = reader.read();
      next.catch(() => {}); // nobody waits for a chunk of a stream that was given up
      if (latest.isProof && !(await Promise.race([next, wait(ALONE)]))) return { reader, read, next };
      const { done, value } = await next;
      if (done) return this.#ended(await new Blob(read).text());
      read.push(value);
      latest.add(decoder.decode(value, { stream: true }));
    }
  }

  /** A stream that ended early says nothing about the proxies, so the next trial comes soon, unless the server had no room. */
  #ended(text) {
    if (!isCrowdedOut(text)) this.#when.next = Date.now() + this.#when.trial;
  }

  /** Pass on the whole stream from its beginning. The reader drops the events that it had already, by their ids. */
  async #follow({ reader, read, next }, sink) {
    for (const bytes of read) sink.enqueue(bytes);
    for (; ; next = reader.read()) {
      const { done, value } = await next;
      if (done) return;
      sink.enqueue(value);
    }
  }

  async #get({ href }, { signal }) {
    const { fetch = globalThis.fetch, headers } = this.#options;
    if (this.#isBegun && typeof headers === "function") Object.assign(this.#init.headers, await headers());
    this.#isBegun = true; // the first request's headers are fresh
    if (signal.aborted) throw new DOMException("no more is wanted", "AbortError"); // the request was given up while headers() ran
    return fetch(href, { ...this.#init, signal });
  }

  #stop() {
    this.#abort.abort();
    this.#trial?.abort();
  }
}

/**
 * What arrived of a stream since its last silence. A heartbeat or an event that arrives alone proves that nothing is held back:
 * it is small, consists of whole frames, comes after the opening, and nothing follows at once. A proxy that gathers blocks never lets
 * something so small pass alone: the last piece of a block comes together with the others, or begins within a frame.
 */
class Arrival {
  #text = "";
  #opened;
  #at = 0;
  #isNew = false;

  add(text) {
    const now = Date.now();
    this.#opened ??= now;
    if (now - this.#at > ALONE) {
      this.#isNew = now - this.#opened > LATER && isWhole(this.#text);
      this.#text = "";
    }
    this.#at = now;
    this.#text += text;
  }

  get isProof() {
    return this.#isNew && this.#text.length < LITTLE && isWhole(this.#text);
  }
}

function wait(milliseconds) {
  return new Promise((done) => setTimeout(done, milliseconds));
}

function isStream({ status, headers }) {
  return status === 200 && (headers.get("Content-Type") ?? "").startsWith("text/event-stream");
}

function isWhole(text) {
  return text.endsWith("\n\n");
}

/** Whether the text ends with `retry:`, by which the server sends a client away. */
function isLast(text) {
  return frames(text).pop().startsWith("retry:");
}

/** Whether the server had no room, or another stream of the user took its slot. */
function isCrowdedOut(text) {
  const last = frames(text).pop();
  return /^event: ssemux\.replaced$/m.test(last) || (isLast(text) && last === text.trimEnd());
}

function frames(text) {
  return text.trimEnd().split("\n\n");
}
