// Built from client/src by `make client`. Documentation: docs/client.md

// client/src/mime.js
function readEssence(headers) {
  const header = (headers.get("Content-Type") ?? "").replace(/"[^"]*"/g, "");
  const types = header.split(",").map((type) => type.split(";")[0].trim().toLowerCase());
  return types.filter((type) => type.includes("/")).pop() ?? "";
}
function isStream({ status, headers }) {
  return status === 200 && readEssence(headers) === "text/event-stream";
}

// client/src/ssemux-poll.js
var AGAIN = 3e5;
var TRIAL = 45e3;
var LATER = 1e3;
var QUICK = 250;
var PAUSE = 1e3;
var GONE = 500;
var ALONE = 250;
var LITTLE = 512;
function polling(options, onStream, times) {
  const schedule = { next: 0, gaveUp: true, again: AGAIN, trial: TRIAL, ...times };
  return async (url, init) => {
    const polls = new Polls(options, url, init, schedule);
    const first = await polls.requestPoll("now");
    if (!isStream(first)) return first;
    const body = new ReadableStream({ start: (sink) => void polls.fillBody(first, sink, onStream) });
    return new Response(body, { headers: { "Content-Type": "text/event-stream" } });
  };
}
var Polls = class {
  #options;
  #url;
  #init;
  #schedule;
  #hasBegun = false;
  #abort = new AbortController();
  #trial;
  #found;
  constructor(options, url, init, schedule) {
    this.#options = options;
    this.#url = new URL(url);
    this.#init = init;
    this.#schedule = schedule;
    init.signal.addEventListener("abort", () => this.#abortAll());
    if (init.signal.aborted) this.#abortAll();
  }
  requestPoll(poll) {
    this.#url.searchParams.set("poll", poll);
    return this.#fetchAnswer(this.#url, this.#abort);
  }
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
  #moveCursor(text) {
    const { searchParams } = this.#url;
    const [, cursor] = [...text.matchAll(/^id: (.+)$/gm)].pop() ?? [];
    const isFurther = Boolean(cursor) && cursor !== searchParams.get("lastEventId");
    if (isFurther) searchParams.set("lastEventId", cursor);
    searchParams.delete("new");
    return isFurther;
  }
  async #pollWithoutTrial() {
    this.#trial?.abort();
    this.#trial = void 0;
    this.#schedule.gaveUp = false;
    await wait(GONE);
    return this.#fetchAnswer(this.#url, this.#abort);
  }
  async #tryStream() {
    const trial = this.#trial = new AbortController();
    const schedule = this.#schedule;
    schedule.next = Date.now() + schedule.again;
    const limit = setTimeout(() => trial.abort(), schedule.trial);
    const found = await this.#readUntilProof(trial).catch(() => {
    });
    clearTimeout(limit);
    if (this.#trial !== trial) return void 0;
    if (found && !trial.signal.aborted) {
      this.#found = found;
      return this.#abort.abort();
    }
    if (this.#init.signal.aborted)
      Object.assign(schedule, { next: 0, gaveUp: true });
    else if (this.#abort.signal.aborted) this.#noteEarlyEnd("");
    return this.#trial = void 0;
  }
  async #readUntilProof(trial) {
    const url = new URL(this.#url);
    url.searchParams.delete("poll");
    const reader = (await this.#fetchAnswer(url, trial)).body.getReader();
    const [read, decoder, latest] = [[], new TextDecoder(), new Arrival()];
    for (; ; ) {
      const next = reader.read();
      next.catch(() => {
      });
      if (latest.isProof && !await Promise.race([next, wait(ALONE)])) return { reader, read, next };
      const { done, value } = await next;
      if (done) return this.#noteEarlyEnd(await new Blob(read).text());
      read.push(value);
      latest.add(decoder.decode(value, { stream: true }));
    }
  }
  #noteEarlyEnd(text) {
    if (!isCrowdedOut(text)) this.#schedule.next = Date.now() + this.#schedule.trial;
  }
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
    this.#hasBegun = true;
    if (signal.aborted) throw new DOMException("no more is wanted", "AbortError");
    return fetch(href, { ...this.#init, signal });
  }
  #abortAll() {
    this.#abort.abort();
    this.#trial?.abort();
  }
};
var Arrival = class {
  #text = "";
  #opened;
  #at = 0;
  #isLate = false;
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
};
function wait(milliseconds) {
  return new Promise((done) => setTimeout(done, milliseconds));
}
function isWhole(text) {
  return /(^|\n\n)(:[^\n]*\n)*$/.test(text);
}
function isLast(text) {
  return /(^|\n\n)(:[^\n]*\n)*retry:[^\n]*\n(:[^\n]*\n)*\n?$/.test(text);
}
function isCrowdedOut(text) {
  return /^event: ssemux\.replaced$/m.test(getLastFrame(text)) || isLast(text) && !text.includes("\ndata:");
}
function getLastFrame(text) {
  return text.trimEnd().split("\n\n").pop();
}
export {
  polling
};
