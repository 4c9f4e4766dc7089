// One request for a stream: sends it, reads its response, and says what is wrong with the response.

import { isStream, readEssence } from "./mime.js";
import { Parser } from "./parser.js";

/**
 * One request for a stream.
 *
 * It calls `callbacks.open` with the response of a stream, if there is such a callback; `.byte`, `.frame` and `.retry`; and at
 * its end `.end` with the problem, if there was one. After `end()` it calls none of them.
 */
export class Request {
  #abort = new AbortController();
  #heardAt = Date.now();
  isHeard = false;
  isSentAway; // the server sent `retry:`, which says when to come back

  constructor(url, channels, options, callbacks) {
    this.channels = channels;
    this.#run(url, options, callbacks);
  }

  get silence() {
    return Date.now() - this.#heardAt;
  }

  end() {
    this.#abort.abort();
  }

  async #run(url, options, callbacks) {
    const { signal } = this.#abort;
    let problem;
    try {
      problem = await this.#readResponse(await this.#fetchResponse(url, options), callbacks);
    } catch (error) {
      problem = { message: String(error?.message ?? error), final: false };
    }
    if (!signal.aborted) {
      this.end();
      callbacks.end(this, problem);
    }
  }

  async #fetchResponse(url, options) {
    const { fetch = globalThis.fetch, credentials = "same-origin", method, body } = options;
    const all = { Accept: "text/event-stream", ...(await readHeaders(options)) };
    const { signal } = this.#abort;
    return fetch(url.href, { method, body, headers: all, credentials, cache: "no-store", signal });
  }

  async #readResponse(response, callbacks) {
    const problem = await findProblem(response);
    if (problem || this.#abort.signal.aborted) return problem;
    callbacks.open?.(response);
    const parser = new Parser({
      frame: (frame) => this.#abort.signal.aborted || callbacks.frame(this, frame),
      retry: (milliseconds) => {
        this.isSentAway = true;
        callbacks.retry(milliseconds);
      },
    });
    const [reader, decoder] = [response.body.getReader(), new TextDecoder()];
    for (;;) {
      const { done, value } = await reader.read();
      if (done || this.#abort.signal.aborted) return;
      this.#heardAt = Date.now();
      this.isHeard = true;
      callbacks.byte(this);
      parser.feed(decoder.decode(value, { stream: true }));
    }
  }
}

/** Return the headers of the options, which may be a function. */
export async function readHeaders({ headers }) {
  return typeof headers === "function" ? headers() : headers;
}

/** Return what is wrong with a response: undefined if it is a stream. `final`: a further try would fail too. */
async function findProblem(response) {
  const { status, headers } = response;
  if (isStream(response)) return;
  const final = status === 204 || (status >= 400 && status < 500 && ![408, 425, 429].includes(status));
  const body = readEssence(headers).includes("json") ? await response.json().catch(() => null) : null;
  if (status === 204) return { message: "the server ended it for good (HTTP 204)", status, final };
  const type = headers.get("Content-Type") || "of no type";
  const plain = status === 200 ? `the answer is ${type}, not a stream` : `HTTP ${status}`;
  return {
    message: body?.message ?? plain,
    status,
    final,
    channel: body?.channel,
    url: response.ok ? body?.url : undefined,
  };
}
