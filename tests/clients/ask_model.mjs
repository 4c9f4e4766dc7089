// Asks a model with @microsoft/fetch-event-source, as a page does: node ask_model.mjs <url> <key>. The output is the data of
// the messages, one JSON text a line.
//
// The page parses each message as JSON, so an empty message would be an error, after which the client posts again.

import { createRequire } from "node:module";

// The package is made for browsers.
Object.assign(globalThis, { window: globalThis, document: { addEventListener() {}, removeEventListener() {} } });
const { fetchEventSource } = createRequire(import.meta.url)("@microsoft/fetch-event-source");

const [url, key] = process.argv.slice(2);
const page = new AbortController();

await fetchEventSource(url, {
  method: "POST",
  headers: { "Content-Type": "application/json", "X-User": "ada", "X-Answer": key },
  body: JSON.stringify({ model: "tale", stream: true, messages: [{ role: "user", content: "Tell me a tale" }] }),
  signal: page.signal,
  openWhenHidden: true,
  onmessage({ event, data }) {
    if (event.startsWith("ssemux.")) return;
    process.stdout.write(`${JSON.stringify(data)}\n`);
    if (data === "[DONE]") page.abort();
    else JSON.parse(data).choices[0].delta.content.trim();
  },
  onclose() {
    throw new Error("the stream ended before [DONE]"); // a clean end is the end for good otherwise
  },
});
