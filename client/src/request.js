// One request for a stream, and what is wrong with its answer.

import { Parser } from "./parser.js";

/** One request. No callback is called after `end`. */
export class Request {
  #abort = new AbortController();
  #heard = Date.now();
  isHeard = false;
  isSentAway; // whether the server said when to come back

  constructor(url, channels, options, tell) {
    this.channels = channels;
    this.#run(url, options, tell);
  }

  get silence() {
    return Date.now() - this.#heard;
  }

  end() {
    this.#abort.abort();
  }

  async #run(url, options, tell) {
    const { signal } = this.#abort;
    let problem;
    try {
      problem = await this.#read(await this.#ask(url, options), tell);
    } catch (error) {
      problem = { message: String(error?.message ?? error), final: false };
    }
    if (!signal.aborted) {
      this.end();
      tell.end(this, problem);
    }
  }

  async #ask(url, { fetch = globalThis.fetch, headers, credentials = "same-origin" }) {
    const given = typeof headers === "function" ? await headers() : headers;
    const all = { Accept: "text/event-stream", ...given };
    return fetch(url.href, { headers: all, credentials, cache: "no-store", signal: this.#abort.signal });
  }

  async #read(response, tell) {
    const problem = await refusal(response);
    if (problem) return problem;
    const parser = new Parser({
      frame: (frame) => this.#abort.signal.aborted || tell.frame(this, frame),
      retry: (milliseconds) => {
        this.isSentAway = true;
        tell.retry(milliseconds);
      },
    });
    const [reader, decoder] = [response.body.getReader(), new TextDecoder()];
    for (;;) {
      const { done, value } = await reader.read();
      if (done || this.#abort.signal.aborted) return;
      this.#heard = Date.now();
      this.isHeard = true;
      tell.byte(this);
      parser.feed(decoder.decode(value, { stream: true }));
    }
  }
}

/** The problem that an answer shows, or undefined. */
async function refusal(response) {
  const { status, headers } = response;
  const type = headers.get("Content-Type") ?? "";
  if (status === 200 && type.startsWith("text/event-stream")) return;
  const final = status === 204 || (status >= 400 && status < 500 && ![408, 425, 429].includes(status));
  const told = type.includes("json") ? await response.json().catch(() => null) : null;
  if (status === 204) return { message: "the server ended it for good (HTTP 204)", status, final };
  const plain = status === 200 ? `the answer is ${type || "of no type"}, not a stream` : `HTTP ${status}`;
  return { message: told?.message ?? plain, status, final, channel: told?.channel };
}
