// ssemux-poll.js: what ssemux.js fetches with where streams are held back; its Link decides that, and loads this.
//
// The body that it answers with reads like that of a stream, and is made of polls: answers that end, which pass every
// hop. Beside them it tries a stream now and then. Of the format it knows ids, and which frame is the last.

const AGAIN = 300_000; // ms from one try of a stream to the next
const TRIAL = 45_000; // ms that it has: two of the server's heartbeats
const LATER = 1_000; // ms after its opening; some hops let that pass, and hold what comes then
const QUICK = 250; // ms: where answers without news come as quickly
const PAUSE = 1_000; // ms: so long is waited

/**
 * A `fetch` that polls.
 *
 * @param options those of the client that matter here: `fetch`, and `headers`, which are asked for with each poll.
 * @param passed is called when a stream arrives again, and the body goes on with that.
 */
export function polling(options, passed, times) {
  const when = { next: 0, again: AGAIN, trial: TRIAL, ...times };
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
      sink.enqueue(encoder.encode(text));
      if (isLast(text)) return;
      if (!this.#moveTo(text) && Date.now() - asked < QUICK) await new Promise((done) => setTimeout(done, PAUSE));
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

  /** A stream beside the polls. It is found when something of it arrives that it did not say at once. */
  async #try() {
    this.#trial = new AbortController();
    const limit = setTimeout(() => this.#trial?.abort(), this.#when.trial);
    let next = this.#when.again;
    try {
      this.#found = await this.#listen();
      next = this.#when.trial; // it ended, which says nothing
    } catch {
      if (this.#abort.signal.aborted) next = this.#when.trial; // so did the polls; else it was held back
    }
    clearTimeout(limit);
    if (this.#found) return this.#abort.abort();
    if (!this.#init.signal.aborted) this.#when.next = Date.now() + next;
    return (this.#trial = undefined);
  }

  async #listen() {
    const url = new URL(this.#url);
    url.searchParams.delete("poll");
    const reader = (await this.#get(url, this.#trial)).body.getReader();
    const read = [];
    for (let opened; ; opened ??= Date.now()) {
      const { done, value } = await reader.read();
      if (done) return undefined;
      read.push(value);
      if (Date.now() - opened > LATER) return { reader, read };
    }
  }

  /** All of it, from its beginning: whoever reads the body has had some, and knows that by the ids. */
  async #follow({ reader, read }, sink) {
    for (const bytes of read) sink.enqueue(bytes);
    for (;;) {
      const { done, value } = await reader.read();
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

function isStream({ status, headers }) {
  return status === 200 && (headers.get("Content-Type") ?? "").startsWith("text/event-stream");
}

/** Whether the server said at last when to come back. */
function isLast(text) {
  return text.trimEnd().split("\n\n").pop().startsWith("retry:");
}
