// Clients from npm in Node, by their defaults, on the scripts of tests/apps/scripted.py. Prints one JSON object per line.
//
//   node node_clients.js '{"url": "http://…", "seconds": 10, "packages": ["eventsource"], "scripts": ["end,live"]}'
//
// `answers` are the scripts for openai's package, which asks by POST. The lines are like those of script_clients.js;
// `who` is the package. It ends after `seconds`, or when its standard input closes.
"use strict";

const { print, run, waitForStop } = require("./script.js");

function listen(source, tell) {
  source.onmessage = ({ data }) => tell("message", { data });
  // eventsource 2 closes itself after it has told the error.
  source.onerror = () => setImmediate(() => source.readyState === 2 && tell("over"));
}

function openEventSourceClient({ createEventSource }, url, tell) {
  const source = createEventSource({
    url,
    onMessage: ({ event, data }) => event || tell("message", { data }),
    onDisconnect: () => setImmediate(() => source.readyState === "closed" && tell("over")), // it closes itself after this
  });
}

async function open(who, url, script) {
  const tell = (what, more) => print({ who, what, script, ...more });
  const loaded = await import(who); // eventsource 5 is a module, which Node 18 cannot require
  const address = `${url}/scripts/${who}-${script}?answers=${script}`;
  if (who === "eventsource-client") openEventSourceClient(loaded, address, tell);
  else listen(new (loaded.EventSource || loaded.default)(address), tell);
}

async function ask(url, script) {
  const tell = (what, more) => print({ who: "openai", what, script, ...more });
  const { OpenAI } = await import("openai");
  const client = new OpenAI({ apiKey: "none", baseURL: `${url}/answers/openai/${script}` });
  const question = { model: "tale", stream: true, messages: [{ role: "user", content: "Tell me a tale" }] };
  try {
    for await (const chunk of await client.chat.completions.create(question))
      tell("message", { data: chunk.choices[0].delta.content });
    tell("over", { data: "ended" });
  } catch ({ message }) {
    tell("over", { data: "raised", message });
  }
}

run(async ({ url, seconds, packages, scripts, answers = [] }) => {
  for (const name of packages) for (const script of scripts) open(name, url, script);
  for (const script of answers) ask(url, script);
  await waitForStop(seconds);
});
