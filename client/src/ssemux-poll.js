// A `fetch` that polls, for ssemux.js behind a proxy that holds streams back. Link decides when, and loads this module.
//
// The body of its response looks like that of a stream, and is made of polls: requests whose responses end, and therefore
// pass every proxy. Meanwhile it tries a stream now and then. Of the format it knows ids, `retry:`, comments, and the ends
// of frames.

import { isStream } from "./mime.js";

const AGAIN = 300_000; // ms from one trial of a stream to the next
const TRIAL = 45_000; // ms that a trial may take: two of the server's heartbeats
const LATER = 1_000; // ms after a stream's opening: some proxies let the opening pass, and hold back what follows
const QUICK = 250; // ms: the server did not hold a poll open that ended sooner without an event
const PAUSE = 1_000; // ms to wait after such a poll
const GONE = 500; // ms after which the server has noticed that a stream was given up
const ALONE = 250; // ms of silence before and after a part that arrives alone
const LITTLE = 512; // characters: no proxy collects blocks as small as this

/**
 * Return a `fetch` that polls.
 *
 * @param options the client's options. `fetch` and `headers` are used; `headers`, if a function, is called for each poll.
 * @param onStream is called when a stream arrives again; the body continues with this stream.
 */
export function polling(options, onStream, times) {
  const schedule = { next: 0, gaveUp: true, again: AGAIN, trial: TRIAL, ...times };
  return async (url, init) => {
    const polls = new Polls(options, url, init, schedule);
    const first = await polls.requestPoll("now");
    if (!isStream(first)) return first;
    const body = new ReadableStream({ start: (sink) => void polls.fillBody(first, sink, onStream) });
    return new Response(body, { headers: { "Content-Type": "text/event-stream" } });
  };
}

class Polls {
  #options;
  #url;
  #init;
  #schedule;
  #hasBegun = false;
  #abort = new AbortController(); // for the polls
  #trial; // the AbortController of a stream that is being tried
  #found; // a stream that arrives: its reader, and what was read so far

  constructor(options, url, init, schedule) {
    this.#options = options;
    this.#url = new URL(url);
    this.#init = init;
    this.#schedule = schedule;
    init.signal.addEventListener("abort", () => this.#abortAll());
    if (init.signal.aborted) this.#abortAll(); // an aborted signal sends no event
  }

  requestPoll(poll) {
    this.#url.searchParams.set("poll", poll);
    return this.#fetchAnswer(this.#url, this.#abort);
  }

  /** Write polls, and then the stream that was found, into the body. */
  async fillBody(first, sink, onStream) {
    try {
      await this.#pollUntilFound(first, sink).catch((error) => {
        if (!this.#found) throw error;
      });
      if (this.#found && !this.#init.signal.aborted) {
        onStream();
        await this.#copyStream(this.#found, sink);
      }
      sink.close();
    } catch (error) {
      sink.error(error);
    }
    this.#abortAll();
  }

  /** Poll until a stream is found, or the server says when to come back. */
  async #pollUntilFound(answer, sink) {
    const encoder = new TextEncoder();
    let asked = 0;
    while (isStream(answer)) {
      const text = await answer.text();
      if ((this.#trial || this.#schedule.gaveUp) && isCrowdedOut(text)) {
        answer = await this.#pollWithoutTrial();
        continue;
      }
      this.#schedule.gaveUp = false;
      sink.enqueue(encoder.encode(text));
      if (isLast(text)) return;
      if (!this.#moveCursor(text) && Date.now() - asked < QUICK) await wait(PAUSE);
      if (!this.#trial && Date.now() >= this.#schedule.next) this.#tryStream();
      asked = Date.now();
      answer = await this.requestPoll("1");
    }
  }

  /** Let the next poll resume after these frames. Return whether the cursor has changed. */
  #moveCursor(text) {
    const { searchParams } = this.#url;
    const [, cursor] = [...text.matchAll(/^id: (.+)$/gm)].pop() ?? [];
    const isFurther = Boolean(cursor) && cursor !== searchParams.get("lastEventId");
    if (isFurther) searchParams.set("lastEventId", cursor);
    searchParams.delete("new");
    return isFurther;
  }

  /** End the trial, and poll again. The user slot may still belong to the trial, or to a stream just given up. */
  async #pollWithoutTrial() {
    this.#trial?.abort();
    this.#trial = undefined;
    this.#schedule.gaveUp = false;
    await wait(GONE);
    return this.#fetchAnswer(this.#url, this.#abort);
  }

  /** Try a stream while the polls go on. If there is no room for it, the next trial is as late as if it was held back. */
  async #tryStream() {
    const trial = (this.#trial = new AbortController());
    const schedule = this.#schedule;
    schedule.next = Date.now() + schedule.again;
    const limit = setTimeout(() => trial.abort(), schedule.trial);
    const found = await this.#readUntilProof(trial).catch(() => {}); // it failed, or was held back
    clearTimeout(limit);
    if (this.#trial !== trial) return undefined;
    if (found && !trial.signal.aborted) {
      this.#found = found;
      return this.#abort.abort();
    }
    if (this.#init.signal.aborted)
      Object.assign(schedule, { next: 0, gaveUp: true }); // the Link opened another request
    else if (this.#abort.signal.aborted) this.#noteEarlyEnd(""); // the trial ended with the polls
    return (this.#trial = undefined);
  }

  /** Return the stream if a part of it arrives alone, which proves that nothing holds it back. */
  async #readUntilProof(trial) {
    const url = new URL(this.#url);
    url.searchParams.delete("poll");
    const reader = (await this.#fetchAnswer(url, trial)).body.getReader();
    const [read, decoder, latest] = [[], new TextDecoder(), new Arrival()];
    for (;;) {
      const next = reader.read();
      next.catch(() => {}); // if the trial is given up, nobody awaits this promise
      if (latest.isProof && !(await Promise.race([next, wait(ALONE)]))) return { reader, read, next };
      const { done, value } = await next;
      if (done) return this.#noteEarlyEnd(await new Blob(read).text());
      read.push(value);
      latest.add(decoder.decode(value, { stream: true }));
    }
  }

  /** A stream that ended early says nothing about the proxy: try again soon, unless the server had no room. */
  #noteEarlyEnd(text) {
    if (!isCrowdedOut(text)) this.#schedule.next = Date.now() + this.#schedule.trial;
  }

  /** Write the whole stream into the body. The reader recognizes by the ids what it has had before. */
  async #copyStream({ reader, read, next }, sink) {
    for (const bytes of read) sink.enqueue(bytes);
    for (; ; next = reader.read()) {
      const { done, value } = await next;
      if (done) return;
      sink.enqueue(value);
    }
  }

  async #fetchAnswer({ href }, { signal }) {
    const { fetch = globalThis.fetch, headers } = this.#options;
    if (this.#hasBegun && typeof headers === "function") Object.assign(this.#init.headers, await headers());
    this.#hasBegun = true; // the headers of the first request were made a moment ago
    if (signal.aborted) throw new DOMException("no more is wanted", "AbortError"); // aborted while `headers` ran
    return fetch(href, { ...this.#init, signal });
  }

  #abortAll() {
    this.#abort.abort();
    this.#trial?.abort();
  }
}

/**
 * The part of a stream that arrived since the stream was last silent.
 *
 * It proves that nothing holds the stream back if it is small, consists of whole frames, does not belong to the opening,
 * and nothing follows at once: a heartbeat or an event. A proxy that collects blocks lets nothing small pass, however
 * often its blocks are full: the last piece of a block arrives with the other pieces, or begins within a frame.
 */
class Arrival {
  #text = "";
  #opened;
  #at = 0;
  #isLate = false; // not part of the opening

  add(text) {
    const now = Date.now();
    this.#opened ??= now;
    if (now - this.#at > ALONE) {
      this.#isLate = now - this.#opened > LATER && isWhole(this.#text);
      this.#text = "";
    }
    this.#at = now;
    this.#text += text;
  }

  get isProof() {
    return this.#isLate && this.#text.length < LITTLE && isWhole(this.#text);
  }
}

function wait(milliseconds) {
  return new Promise((done) => setTimeout(done, milliseconds));
}

/** Return whether the text ends with a frame, or with comments after one. */
function isWhole(text) {
  return /(^|\n\n)(:[^\n]*\n)*$/.test(text);
}

/** Return whether the text ends with a `retry:` that begins no event, by which the server says when to come back. */
function isLast(text) {
  return /(^|\n\n)(:[^\n]*\n)*retry:[^\n]*\n(:[^\n]*\n)*\n?$/.test(text);
}

/** Return whether the server had no room for this stream, or gave its user slot to another one. */
function isCrowdedOut(text) {
  return /^event: ssemux\.replaced$/m.test(getLastFrame(text)) || (isLast(text) && !text.includes("\ndata:"));
}

function getLastFrame(text) {
  return text.trimEnd().split("\n\n").pop();
}
