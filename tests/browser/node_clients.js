// Clients from npm in Node, by their defaults, on the scripts of tests/apps/scripted.py. Prints one JSON object per line.
//
//   node node_clients.js '{"url": "http://…", "seconds": 10, "packages": ["eventsource"], "scripts": ["end,live"]}'
//
// The lines are like those of script_clients.js; `who` is the package. It ends after `seconds`, or when its standard
// input closes.
"use strict";

const { print, run, waitForStop } = require("./script.js");

function open(who, url, script) {
  const tell = (what, more) => print({ who, what, script, ...more });
  const loaded = require(who);
  const source = new (loaded.EventSource || loaded)(`${url}/scripts/${who}-${script}?answers=${script}`);
  source.onmessage = ({ data }) => tell("message", { data });
  // eventsource 2 closes itself after it has told the error.
  source.onerror = () => setImmediate(() => source.readyState === 2 && tell("over"));
}

run(async ({ url, seconds, packages, scripts }) => {
  for (const name of packages) for (const script of scripts) open(name, url, script);
  await waitForStop(seconds);
});
