// Built from client/src by `make client`. Documentation: docs/client.md

// client/src/ssemux-poll.js
var AGAIN = 3e5;
var TRIAL = 45e3;
var LATER = 1e3;
var QUICK = 250;
var PAUSE = 1e3;
var GONE = 500;
var ALONE = 250;
var LITTLE = 512;
function polling(options, passed, times) {
  const when = { next: 0, gaveUp: true, again: AGAIN, trial: TRIAL, ...times };
  return async (url, init) => {
    const polls = new Polls(options, url, init, when);
    const first = await polls.ask("now");
    if (!isStream(first)) return first;
    const body = new ReadableStream({ start: (sink) => void polls.run(first, sink, passed) });
    return new Response(body, { headers: { "Content-Type": "text/event-stream" } });
  };
}
var Polls = class {
  #options;
  #url;
  #init;
  #when;
  #isBegun = false;
  #abort = new AbortController();
  // for polls
  #trial;
  // the AbortController of a stream that is tried
  #found;
  // a stream that arrives: its reader, and what was read
  constructor(options, url, init, when) {
    this.#options = options;
    this.#url = new URL(url);
    this.#init = init;
    this.#when = when;
    init.signal.addEventListener("abort", () => this.#stop());
    if (init.signal.aborted) this.#stop();
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
    this.#trial = void 0;
    this.#when.gaveUp = false;
    await wait(GONE);
    return this.#get(this.#url, this.#abort);
  }
  /** Try a stream beside the polls. If the server has no room for it, the next trial waits as long as after a stream that was held back. */
  async #try() {
    const trial = this.#trial = new AbortController();
    const when = this.#when;
    when.next = Date.now() + when.again;
    const limit = setTimeout(() => trial.abort(), when.trial);
    const found = await this.#listen(trial).catch(() => {
    });
    clearTimeout(limit);
    if (this.#trial !== trial) return void 0;
    if (found && !trial.signal.aborted) {
      this.#found = found;
      return this.#abort.abort();
    }
    if (this.#init.signal.aborted)
      Object.assign(when, { next: 0, gaveUp: true });
    else if (this.#abort.signal.aborted) this.#ended("");
    return this.#trial = void 0;
  }
  /** Read a stream until a chunk of it arrives alone: then nothing holds the stream back. */
  async #listen(trial) {
    const url = new URL(this.#url);
    url.searchParams.delete("poll");
    const reader = (await this.#get(url, trial)).body.getReader();
    const [read, decoder, latest] = [[], new TextDecoder(), new Arrival()];
    for (; ; ) {
      const next = reader.read();
      next.catch(() => {
      });
      if (latest.isProof && !await Promise.race([next, wait(ALONE)])) return { reader, read, next };
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
    this.#isBegun = true;
    if (signal.aborted) throw new DOMException("no more is wanted", "AbortError");
    return fetch(href, { ...this.#init, signal });
  }
  #stop() {
    this.#abort.abort();
    this.#trial?.abort();
  }
};
var Arrival = class {
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
};
function wait(milliseconds) {
  return new Promise((done) => setTimeout(done, milliseconds));
}
function isStream({ status, headers }) {
  return status === 200 && (headers.get("Content-Type") ?? "").startsWith("text/event-stream");
}
function isWhole(text) {
  return text.endsWith("\n\n");
}
function isLast(text) {
  return frames(text).pop().startsWith("retry:");
}
function isCrowdedOut(text) {
  const last = frames(text).pop();
  return /^event: ssemux\.replaced$/m.test(last) || isLast(text) && last === text.trimEnd();
}
function frames(text) {
  return text.trimEnd().split("\n\n");
}
export {
  polling
};
