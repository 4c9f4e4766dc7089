/*
 * A stream as its bytes arrive. Reads it with fetch, and comes back as EventSource does: after `retry`, from the last id.
 *
 * It gives up where event-source-polyfill would: after `limits.timeout` ms without a byte, with that library's words.
 * Never touches the document.
 */
import { Parser } from "/events/ssemux.js";

const RETRY = 3000; // what browsers wait when a stream says nothing of it

export class Reader {
  #abort;
  #lastId = "";
  #isOver = false;
  retry = RETRY;

  /** `tell`: asked(), opened(), chunk({ size, text, frames }), lost(words), each when it happens. */
  constructor(url, limits, tell) {
    Object.assign(this, { url, limits, tell, heard: performance.now() });
  }

  /** Milliseconds without a byte. */
  get silence() {
    return performance.now() - this.heard;
  }

  async run() {
    while (!this.#isOver) {
      await this.#once().catch((error) => this.#isOver || this.tell.lost(this.why ?? error.message));
      await new Promise((resolve) => setTimeout(resolve, this.retry));
    }
  }

  /** Drop the connection, as a tunnel does to a train's. */
  cut(why) {
    this.why = why;
    this.#abort?.abort();
  }

  close() {
    this.#isOver = true;
    this.#abort?.abort();
  }

  /** To be called now and then. */
  look() {
    if (this.#abort && this.silence > this.limits.timeout) this.cut(this.#complaint());
  }

  #complaint() {
    const seen = this.isOpen ? "" : " No response received.";
    return `No activity within ${this.limits.timeout} milliseconds.${seen} Reconnecting.`;
  }

  async #once() {
    this.#abort = new AbortController();
    Object.assign(this, { heard: performance.now(), isOpen: false, why: undefined });
    this.tell.asked();
    try {
      await this.#read(await fetch(this.#address(), { signal: this.#abort.signal, cache: "no-store" }));
      throw new Error("The server ended the stream.");
    } finally {
      this.#abort = undefined;
    }
  }

  #address() {
    const url = new URL(this.url);
    if (this.#lastId) url.searchParams.set("lastEventId", this.#lastId);
    return url;
  }

  async #read(response) {
    if (!response.ok) throw new Error(`The server answered ${response.status}.`);
    this.isOpen = true;
    this.tell.opened();
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    let frames = [];
    const parser = new Parser({ frame: (frame) => frames.push(frame), retry: (wait) => (this.retry = wait) });
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const text = decoder.decode(value, { stream: true });
      frames = [];
      parser.feed(text);
      this.heard = performance.now();
      this.#lastId =
        frames
          .map((frame) => frame.id)
          .filter(Boolean)
          .pop() ?? this.#lastId;
      this.tell.chunk({ size: value.length, text, frames });
    }
  }
}
