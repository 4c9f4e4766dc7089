// Runs eventsource-parser (npm) on a stream's bytes, in pieces of several sizes, and prints the events as JSON.
//
//   node parse.mjs < body        the package is in tests/node_modules
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const { createParser } = createRequire(fileURLToPath(new URL("../", import.meta.url)))("eventsource-parser");

const events = [];
const parser = createParser({ onEvent: ({ event, data, id }) => events.push([event || "message", data, id || ""]) });
const decoder = new TextDecoder();
const body = readFileSync(0);
for (let at = 0, size = 1; at < body.length; at += size, size = (size % 4093) + 7)
  parser.feed(decoder.decode(body.subarray(at, at + size), { stream: true }));
process.stdout.write(JSON.stringify(events));
