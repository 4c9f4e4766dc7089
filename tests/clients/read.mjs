// Runs npm's clients, and ssemux.js: node read.mjs <tasks>, a JSON list of {task, client, url, method}. Each line of the
// output is a JSON object with its `task`: a message that the client reported, {event, data, id}, or an {error}. A client
// is closed at the message `end`.
//
// Each client is used as its documentation says, with the lines that docs/client.md adds. A client that does not
// reconnect by itself is called again, after the `retry` that it knows and with the last id that it reported.

import { createRequire } from "node:module";
import { setTimeout as wait } from "node:timers/promises";
import { createParser } from "eventsource-parser";
import { EventSourceParserStream } from "eventsource-parser/stream";

const require = createRequire(import.meta.url);
const { EventSource } = require("eventsource");
const EventSource2 = require("eventsource2");
const { EventSourcePolyfill } = require("event-source-polyfill");
// The next one is made for browsers.
Object.assign(globalThis, { window: globalThis, document: { addEventListener() {}, removeEventListener() {} } });
const { fetchEventSource } = require("@microsoft/fetch-event-source");

// Clients that tell events apart need their names.
const NAMES = ["message", "n", "end", "ssemux.hello", "ssemux.reset", "ssemux.stop", "ssemux.degraded"];

console.error = () => {}; // the polyfill logs each lost connection

class Task {
  constructor({ task, client, url, method }) {
    Object.assign(this, { task, client, url, method });
    this.retry = 1000;
    this.abort = new AbortController();
  }

  say(line) {
    if (!this.abort.signal.aborted) process.stdout.write(`${JSON.stringify({ task: this.task, ...line })}\n`);
  }

  report({ event, data, id }) {
    this.id = id || this.id;
    this.say({ event: event || "message", data, id: id ?? "" });
    if (event === "end" || data === "[DONE]") this.abort.abort();
  }

  listen(source) {
    this.abort.signal.addEventListener("abort", () => source.close());
    for (const name of NAMES)
      source.addEventListener(name, ({ data, lastEventId }) => this.report({ event: name, data, id: lastEventId }));
  }

  /** Read with a client that does not reconnect by itself: `read` is given the text of each response. */
  async repeat(read) {
    const { method, abort } = this;
    while (!abort.signal.aborted) {
      const headers = this.id ? { "Last-Event-ID": this.id } : {};
      const read_all = async () => {
        const { body } = await fetch(this.url, { method, headers, signal: abort.signal });
        await read(body.pipeThrough(new TextDecoderStream()));
      };
      await read_all().catch(({ message }) => this.say({ lost: message }));
      await wait(this.retry);
    }
  }

  /** Read a channel with ssemux.js, which is given the channel by the page and not by the URL. */
  async readChannel(file) {
    const { SSEMux } = await import(file);
    const { origin, pathname, searchParams } = new URL(this.url);
    const lastEventId = searchParams.get("lastEventId") ?? undefined;
    const mux = new SSEMux(origin + pathname, { shared: false, lastEventId });
    this.abort.signal.addEventListener("abort", () => mux.close());
    mux.on("ssemux.open", () => this.say({ opened: true }));
    const channel = mux.channel(searchParams.get("channel"));
    for (const name of ["message", "n", "end"]) {
      channel.on(name, ({ data, id }) => this.report({ event: name, data, id }));
      mux.on(name, () => this.say({ error: `${name} without its channel` }));
    }
  }
}

const CLIENTS = {
  "eventsource 2": (task) => task.listen(new EventSource2(task.url)),

  "eventsource 3": (task) => task.listen(new EventSource(task.url)),

  "event-source-polyfill": (task) => task.listen(new EventSourcePolyfill(task.url)),

  "@microsoft/fetch-event-source": (task) =>
    fetchEventSource(task.url, {
      method: task.method,
      signal: task.abort.signal,
      onmessage: (message) => task.report(message),
      onclose() {
        if (task.method === "GET") throw new Error("the stream ended"); // a clean end is the end for good otherwise
      },
      onerror() {},
      openWhenHidden: true,
    }),

  "eventsource-parser": (task) =>
    task.repeat(async (texts) => {
      const parser = createParser({
        onEvent: (event) => task.report(event),
        onRetry: (retry) => (task.retry = retry),
        onError: ({ message }) => task.say({ error: message }),
      });
      for await (const text of texts) parser.feed(text);
    }),

  "eventsource-parser, its stream": (task) =>
    task.repeat(async (texts) => {
      const onRetry = (retry) => (task.retry = retry);
      try {
        const events = texts.pipeThrough(new EventSourceParserStream({ onError: "terminate", onRetry }));
        for await (const event of events) task.report(event);
      } catch (error) {
        if (error.name === "ParseError") task.say({ error: error.message });
        throw error;
      }
    }),

  "ssemux.js": (task) => task.readChannel("../../flask_ssemux/static/ssemux.js"),

  "ssemux.js, an old copy": (task) => task.readChannel("./vendor/ssemux.js"),
};

for (const task of JSON.parse(process.argv[2]).map((task) => new Task(task))) CLIENTS[task.client](task);
