// Opens a stream with Node's `eventsource` package and prints what it receives, one JSON object per line, as it happens.
//
//   node listen.js '{"url": "http://…/events", "seconds": 10, "names": ["progress"]}'
//
// The lines are like those of the page of tests/apps/page.py, with who: "node". It ends after `seconds`, or when its standard input
// closes.
"use strict";

const { EventSource } = require("eventsource");

const options = JSON.parse(process.argv[2]);
const began = Date.now();
const source = new EventSource(options.url);

function tell(what, more) {
  const at = Date.now();
  process.stdout.write(
    JSON.stringify({ who: "node", what, at: at / 1000, after: (at - began) / 1000, ...more }) + "\n",
  );
}

source.onopen = () => tell("open");
source.onerror = (error) => tell("error", { state: source.readyState, text: error.message });
for (const name of ["message", ...(options.names || [])])
  source.addEventListener(name, (e) => tell("event", { name: e.type, data: e.data, id: e.lastEventId }));

const stop = () => process.exit(0);
setTimeout(stop, options.seconds * 1000);
process.stdin.on("end", stop).resume();
