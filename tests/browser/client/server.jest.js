// ssemux.js in Jest with jsdom, against the real server at URL (tests/apps/tabs.py). test_client_package.py runs it.
/* global afterEach, expect, test */

import { SSEMux } from "flask-ssemux";

let mux;
afterEach(() => mux.close());

const once = (source, event) => new Promise((resolve) => source.on(event, resolve));

test("a stream, and channels that come later", async () => {
  mux = new SSEMux("/events");
  const snapshot = await once(mux.channel("state:jest"), "state");
  expect([mux.state, mux.transport, snapshot.json]).toEqual(["open", "stream", 0]);
  await once(mux.channel("state:later"), "state");
});

test("polls, by the module that is loaded when streams are held back", async () => {
  const ask = (url, init) => (url.includes("poll=") ? fetch(url, init) : new Promise(() => {}));
  mux = new SSEMux("/events", { fetch: ask });
  const snapshot = await once(mux.channel("state:jest"), "state");
  expect([mux.state, mux.transport, snapshot.json]).toEqual(["open", "poll", 0]);
});

test("a refusal is final, and is read as the server wrote it", async () => {
  mux = new SSEMux("/events");
  mux.channel("secret:1");
  const { status, channel, final } = await once(mux, "ssemux.error");
  expect([status, channel, final]).toEqual([401, "secret:1", true]);
});
