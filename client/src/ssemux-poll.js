// ssemux-poll.js: what ssemux.js fetches with where streams are held back; its Link decides that, and loads this.
//
// The body that it answers with reads like that of a stream, and is made of polls: answers that end, which pass every
// hop. Beside them it tries a stream now and then. It knows of the format ids, frames' ends, and what sends it away.

const AGAIN = 300_000; // ms from one try of a stream to the next
const TRIAL = 45_000; // ms that it has: two of the server's heartbeats
const LATER = 1_000; // ms after its opening; some hops let that pass, and hold what comes then
const QUICK = 250; // ms: where answers without news come as quickly
const PAUSE = 1_000; // ms: so long is waited
const GONE = 500; // ms after which the server has seen that a stream was given up
const ALONE = 250; // ms of silence before and after what arrives alone
const LITTLE = 512; // characters; no hop has blocks as small

/**
 * A `fetch` that polls.
 *
 * @param options those of the client that matter here: `fetch`, and `headers`, which are asked for with each poll.
 * @param passed is called when a stream arrives again, and the body goes on with that.
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
  #abort = new AbortController(); // of polls
  #trial; // of a stream
  #found; // a stream that arrives: its reader, and what was read

  constructor(options, url, init, when) {
    this.#options = options;
    this.#url = new URL(url);
    this.#init = init;
    this.#when = when;
    init.signal.addEventListener("abort", () => this.#stop());
    if (init.signal.aborted) this.#stop(); // nobody is told of that any more
  }

  ask(poll) {
    this.#url.searchParams.set("poll", poll);
    return this.#get(this.#url, this.#abort);
  }

  /** Fill a body. */
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

  /** Poll after poll, until a stream is found or the server sends us away. */
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

  /** The next poll goes on after these frames; whether that is anywhere else. */
  #moveTo(text) {
    const { searchParams } = this.#url;
    const [, cursor] = [...text.matchAll(/^id: (.+)$/gm)].pop() ?? [];
    const isFurther = Boolean(cursor) && cursor !== searchParams.get("lastEventId");
    if (isFurther) searchParams.set("lastEventId", cursor);
    searchParams.delete("new");
    return isFurther;
  }

  /** The place may be a stream's that was given up a moment ago; or the trial's, which is over: it said nothing. */
  async #askAlone() {
    this.#trial?.abort();
    this.#trial = undefined;
    this.#when.gaveUp = false;
    await wait(GONE);
    return this.#get(this.#url, this.#abort);
  }

  /** A stream beside the polls. Where it has no place, the next is as far off as where it is held back. */
  async #try() {
    const trial = (this.#trial = new AbortController());
    const when = this.#when;
    when.next = Date.now() + when.again;
    const limit = setTimeout(() => trial.abort(), when.trial);
    const found = await this.#listen(trial).catch(() => {}); // or it was held back
    clearTimeout(limit);
    if (this.#trial !== trial) return undefined;
    if (found && !trial.signal.aborted) {
      this.#found = found;
      return this.#abort.abort();
    }
    if (this.#init.signal.aborted)
      Object.assign(when, { next: 0, gaveUp: true }); // the Link went on
    else if (this.#abort.signal.aborted) this.#ended(""); // with the polls
    return (this.#trial = undefined);
  }

  /** It arrives when some of it came alone. */
  async #listen(trial) {
    const url = new URL(this.#url);
    url.searchParams.delete("poll");
    const reader = (await this.#get(url, trial)).body.getReader();
    const [read, decoder, latest] = [[], new TextDecoder(), new Arrival()];
    for (;;) {
      const next = reader.read();
      next.catch(() => {}); // where it is given up, and nobody waits
      if (latest.isProof && !(await Promise.race([next, wait(ALONE)]))) return { reader, read, next };
      const { done, value } = await next;
      if (done) return this.#ended(await new Blob(read).text());
      read.push(value);
      latest.add(decoder.decode(value, { stream: true }));
    }
  }

  /** An end before its time says nothing about the hop: soon another, unless it was for want of a place. */
  #ended(text) {
    if (!isCrowdedOut(text)) this.#when.next = Date.now() + this.#when.trial;
  }

  /** All of it, from its beginning: whoever reads the body has had some, and knows that by the ids. */
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
    this.#isBegun = true; // what it is begun with is of this moment
    if (signal.aborted) throw new DOMException("no more is wanted", "AbortError"); // while the headers were made
    return fetch(href, { ...this.#init, signal });
  }

  #stop() {
    this.#abort.abort();
    this.#trial?.abort();
  }
}

/**
 * What came of a stream since it was last silent. It proves that nothing is held back if it is little, whole frames,
 * not of the opening, and nothing follows at once: a heartbeat, an event. A hop that gathers blocks lets nothing little
 * pass, however often its blocks are full; the last piece of a block comes with the others, or begins within a frame.
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

/** Whether the server said at last when to come back. */
function isLast(text) {
  return frames(text).pop().startsWith("retry:");
}

/** Whether there was no room at all, or another stream took the place. */
function isCrowdedOut(text) {
  const last = frames(text).pop();
  return /^event: ssemux\.replaced$/m.test(last) || (isLast(text) && last === text.trimEnd());
}

function frames(text) {
  return text.trimEnd().split("\n\n");
}
