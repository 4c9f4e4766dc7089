// A user who may have one stream (SSEMUX_MAX_STREAMS_PER_USER=1), with each value of SSEMUX_OVER_USER_LIMIT.

import "./shims.mjs";

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";

import { client, isOpen, look, numbers, room, say, until } from "./site.mjs";

const isOldest = process.env.SSEMUX_OVER_USER_LIMIT === "oldest";

test("channels come and go with one user slot, and nothing is lost", async (t) => {
  const mux = client(t, `/events?user=${randomUUID()}`, { shared: false });
  const replaced = [];
  mux.on("ssemux.replaced", (message) => replaced.push(message));
  const [steady, added] = [room(), `state:${randomUUID()}`];
  const heard = numbers(mux, steady);
  await isOpen(mux);
  await say(1, steady);
  const snapshot = numbers(mux, added, "state");
  await say(1, steady);
  await until(
    () => snapshot.length,
    () => JSON.stringify([mux.states, mux.errors]),
  );
  await say(1, steady);
  await until(
    () => heard.length === 3,
    () => JSON.stringify([heard, mux.states]),
  );
  mux.channel(added).close();
  await until(async () => (await look()).streams.some((names) => names.includes(steady) && !names.includes(added)));
  await say(1, steady);
  await until(() => heard.length === 4);
  assert.deepEqual([heard, snapshot, replaced, mux.errors], [[1, 2, 3, 4], [0], [], []]);
});

test("tabs whose stream was replaced by another one are notified, and stay away", { skip: !isOldest }, async (t) => {
  const [user, name] = [randomUUID(), room()];
  const path = `/events?user=${user}`;
  const { cursors } = await say(1, name);
  const tabs = [client(t, path, { lastEventId: cursors[0] })];
  await isOpen(tabs[0]);
  tabs.push(client(t, path, { lastEventId: cursors[0] }));
  await isOpen(tabs[1]);
  const replaced = [];
  for (const mux of tabs) mux.on("ssemux.replaced", ({ reason }) => replaced.push(typeof reason));
  const other = client(t, path, { shared: false });
  await until(
    () => tabs.every((mux) => mux.state === "closed"),
    () => JSON.stringify(tabs.map((mux) => mux.states)),
  );
  assert.deepEqual(replaced, ["string", "string"]);
  assert.deepEqual(
    tabs.map((mux) => mux.errors.map(({ status }) => status)),
    [[204], [204]],
  );
  assert.equal(other.state, "open");
});
