// Asks a model whose answer is a run: node ask_run.mjs <client> <url>. The client is `fetch` (@microsoft/fetch-event-source,
// as in docs/runs.md: after the POST was cut it goes on by GET) or `openai`. The output is a JSON text a line: the chunks.

import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
// The package is made for browsers.
Object.assign(globalThis, { window: globalThis, document: { addEventListener() {}, removeEventListener() {} } });
const { fetchEventSource } = require("@microsoft/fetch-event-source");
const { OpenAI } = require("openai");

const [client, url] = process.argv.slice(2);
const question = { model: "tale", stream: true, messages: [{ role: "user", content: "Tell me a tale" }] };
const print = (chunk) => process.stdout.write(JSON.stringify(chunk) + "\n");

const clients = {
  async fetch() {
    const body = JSON.stringify(question);
    const headers = { "Content-Type": "application/json" };
    await readRun(
      `${url}/chat/completions`,
      { method: "POST", headers, body },
      (data) => data !== "[DONE]" && print(JSON.parse(data)),
    );
  },

  async openai() {
    const { chat } = new OpenAI({ apiKey: "none", baseURL: url });
    for await (const chunk of await chat.completions.create(question)) print(chunk);
  },
};

/** Send the request once, and read the run that it starts to its end, by GET after a connection was lost. */
async function readRun(url, options, onData) {
  let [where, last, isOver, refusal] = [];
  while (!isOver) {
    const request = where ? { headers: last ? { "Last-Event-ID": last } : {} } : options;
    await fetchEventSource(where ?? url, {
      ...request,
      openWhenHidden: true,
      async onopen({ status, headers, url }) {
        if (status < 500 && status !== 200) refusal = new Error(`HTTP ${status}`);
        if (status !== 200) throw refusal ?? new Error(`HTTP ${status}`);
        where ??= new URL(headers.get("Content-Location"), url).href;
      },
      onmessage({ event, data, id }) {
        last = id || last;
        if (event === "ssemux.run") isOver = true;
        else if (data && !event.startsWith("ssemux.")) onData(data);
      },
      onerror(error) {
        throw error; // by its defaults the library sends the POST again
      },
    }).catch((error) => {
      if (refusal || !where) throw error; // without an answer nobody knows whether the run was started
    });
    if (!isOver) await new Promise((resolve) => setTimeout(resolve, 1000 * Math.random()));
  }
}

await clients[client]();
