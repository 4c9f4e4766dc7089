// A day's worth of channels, tabs and users, in one process: what ssemux.js keeps of them is what is in use. The server is
// the one of stream.test.mjs.

import "./shims.mjs";

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

import { client, isOpen, range, room, say, SITE, until } from "./site.mjs";
import { SSEMux } from "../../../flask_ssemux/static/ssemux.js";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc");

const AT_ONCE = 40; // channels
const ROUNDS = 8;
const LEAST = AT_ONCE; // entries that may be of this moment, and of Node

/** Every Map and Set that is made from here on. */
const made = [];
for (const name of ["Map", "Set"]) {
  const Kind = globalThis[name];
  globalThis[name] = class extends Kind {
    constructor(...given) {
      super(...given);
      made.push(new WeakRef(this));
    }
  };
}

/** How many entries there are in those that somebody still has. */
async function count() {
  await new Promise((resolve) => setTimeout(resolve, 1100)); // the client's last timers
  collect();
  return made.reduce((sum, one) => sum + (one.deref()?.size ?? 0), 0);
}

async function staysLevel(round) {
  await round();
  const before = await count();
  for (let number = 0; number < ROUNDS; number += 1) await round();
  const grown = (await count()) - before;
  assert.ok(grown < LEAST, `after ${ROUNDS} rounds there are ${grown} entries more`);
}

/** Read new channels until each has heard something, and then no more. */
async function readNew(mux) {
  // Short names: until the leader hears that a tab gave up its channels, it asks for those of both rounds, and the query
  // must fit into the 4 KB that gunicorn allows for a request line.
  const names = range(1, AT_ONCE).map(() => room().slice(0, 13));
  const heard = new Set();
  for (const name of names) mux.channel(name).on("n", () => heard.add(name));
  await until(async () => (await say(1, ...names)) && heard.size === AT_ONCE);
  for (const name of names) mux.channel(name).close();
  const listener = () => {};
  for (const name of names) mux.on(name, listener).off(name, listener);
}

test("new channels, of the tab that leads and of another one", async (t) => {
  const user = randomUUID();
  const tabs = [client(t, "/events", { user }), client(t, "/events", { user })];
  for (const mux of tabs) await isOpen(mux);
  await staysLevel(async () => {
    for (const mux of tabs) await readNew(mux);
  });
});

test("new tabs, and new users", async (t) => {
  const user = randomUUID();
  const clients = [];
  await isOpen(client(t, "/events", { user }));
  await staysLevel(async () => {
    for (const whose of [user, randomUUID(), undefined]) {
      const mux = new SSEMux(SITE + "/events", { user: whose, shared: whose !== undefined });
      await isOpen(mux);
      mux.close();
      clients.push(new WeakRef(mux));
    }
  });
  const left = clients.filter((one) => one.deref());
  assert.ok(left.length < ROUNDS, `${left.length} of ${clients.length} clients that were closed are still there`);
});
