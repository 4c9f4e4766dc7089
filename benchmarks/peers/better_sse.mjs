// better-sse: a session for each stream, registered with one channel that broadcasts.
//
//     node better_sse.mjs PORT FOLDER    # FOLDER has node_modules/better-sse

import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";

const [port, folder] = process.argv.slice(2);
const { createChannel, createSession } = createRequire(join(folder, "package.json"))("better-sse");

const HEARTBEAT = 600_000;
const NAME = "tick";
const AROUND = 58; // as event.py has it
const channel = createChannel();

// Seconds of the clock that Python's time.monotonic() reads.
const monotonic = () => Number(process.hrtime.bigint()) / 1e9;

function data(size) {
  return `${monotonic().toFixed(6)} ${process.pid} `.padEnd(size - AROUND - 1, ".") + "~";
}

function publish(events, rate, size) {
  const start = monotonic();
  let count = 0;
  const next = () => {
    channel.broadcast(data(size), NAME);
    if (++count < events) setTimeout(next, Math.max(0, start + count / rate - monotonic()) * 1000);
  };
  next();
}

createServer(async (request, response) => {
  const url = new URL(request.url, "http://bench");
  if (url.pathname === "/events") {
    channel.register(await createSession(request, response, { keepAlive: HEARTBEAT }));
    return;
  }
  const asked = (name) => Number(url.searchParams.get(name));
  if (url.pathname === "/publish") publish(asked("events"), asked("rate"), asked("size"));
  response.setHeader("Connection", "close");
  response.end(JSON.stringify({ pid: process.pid }));
}).listen({ port: Number(port), host: "127.0.0.1", backlog: 2048 });
