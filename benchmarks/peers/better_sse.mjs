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
const users = new Map();

// Seconds of the clock that Python's time.monotonic() reads.
const monotonic = () => Number(process.hrtime.bigint()) / 1e9;

function data(size) {
  return `${monotonic().toFixed(6)} ${process.pid} `.padEnd(size - AROUND - 1, ".") + "~";
}

// Rate 0 means all at once, but for a breath after each 100. With a number of users, each event goes to one of them.
function publish(events, rate, size, count) {
  const start = monotonic();
  let number = 0;
  const send = () => {
    if (count) users.get(`u${number % count}`)?.push(data(size), NAME);
    else channel.broadcast(data(size), NAME);
    number += 1;
  };
  const next = () => {
    if (rate) send();
    else for (let i = 0; i < 100 && number < events; i += 1) send();
    if (number >= events) return;
    if (rate) setTimeout(next, Math.max(0, start + number / rate - monotonic()) * 1000);
    else setImmediate(next);
  };
  next();
}

createServer(async (request, response) => {
  const url = new URL(request.url, "http://bench");
  if (url.pathname === "/events") {
    channel.register(await createSession(request, response, { keepAlive: HEARTBEAT }));
    return;
  }
  if (url.pathname === "/user") {
    const user = url.searchParams.get("user");
    users.set(user, await createSession(request, response, { keepAlive: HEARTBEAT }));
    return;
  }
  const asked = (name) => Number(url.searchParams.get(name));
  if (url.pathname === "/publish") {
    publish(asked("events"), asked("rate"), asked("size"), asked("users"));
  }
  response.setHeader("Connection", "close");
  response.end(JSON.stringify({ pid: process.pid }));
}).listen({ port: Number(port), host: "127.0.0.1", backlog: 2048 });
