// ssemux.js behind hops that buffer streams. The server is that of stream.test.mjs; a user may have one stream.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describe, test } from "node:test";

import { Parser } from "../../../flask_ssemux/static/ssemux.js";
import { polling } from "../../../flask_ssemux/static/ssemux-poll.js";
import { hop } from "./hop.mjs";
import { SITE, client, isOpen, look, numbers, post, range, room, say, until } from "./site.mjs";

const OLDEST = process.env.OLDEST; // a server with the same history, that ends a user's oldest stream for one too many
const LATE = 2000; // ms from an event's publishing to the page, at most

/** Publish numbers one by one, each after the previous one was received; return how long the slowest took. */
async function pingPong(heard, name, count) {
  let slowest = 0;
  for (let round = 0; round < count; round += 1) {
    const began = Date.now();
    const { counts } = await say(1, name);
    await until(
      () => heard.at(-1) === counts[name],
      () => JSON.stringify(heard),
    );
    slowest = Math.max(slowest, Date.now() - began);
  }
  return slowest;
}

describe("behind a hop", { concurrency: true }, () => {
  test("that holds all, events come by polls: each once, in order, within two seconds", async (t) => {
    const between = await hop(t, SITE, "hold");
    const [name, added] = [room(), `state:${randomUUID()}`];
    const mux = client(t, "/events", {}, between.url);
    const heard = numbers(mux, name);
    await isOpen(mux);
    assert.deepEqual([mux.states, mux.transports, mux.errors], [["connecting", "open"], ["stream", "poll"], []]);
    assert.ok((await pingPong(heard, name, 20)) < LATE);
    const { counts } = await say(30, name);
    await until(() => heard.at(-1) === counts[name]);
    const [first, later] = [numbers(mux, added, "state"), numbers(mux, added)];
    await until(() => first.length);
    assert.ok((await pingPong(later, added, 3)) < LATE);
    assert.ok((await pingPong(heard, name, 3)) < LATE);
    assert.deepEqual(heard, range(1, 53));
    assert.deepEqual([first, later], [[0], [1, 2, 3]]);
    await new Promise((resolve) => setTimeout(resolve, 2500)); // longer than any answer waits
    assert.deepEqual([mux.states.lastIndexOf("connecting"), mux.errors], [0, []]);
    mux.close();
    await until(async () => !(await look()).streams.some((names) => names.includes(name)));
  });

  test("that holds all, a page that was rendered at a cursor has its first events within two seconds", async (t) => {
    const between = await hop(t, SITE, "hold");
    const name = room();
    const { cursors } = await say(3, name);
    const began = Date.now();
    const heard = numbers(client(t, "/events", { lastEventId: cursors[0] }, between.url), name);
    await say(1, name);
    await until(() => heard.length === 3);
    assert.ok(Date.now() - began < LATE);
    assert.deepEqual(heard, [2, 3, 4]);
  });

  test("that holds all, each poll has headers of its own: a ticket is used once", async (t) => {
    const between = await hop(t, SITE, "hold");
    const name = room();
    let turn = 0;
    const mux = client(t, "/events", { headers: async () => ({ "X-Turn": String((turn += 1)) }) }, between.url);
    const heard = numbers(mux, name);
    await isOpen(mux);
    assert.ok((await pingPong(heard, name, 5)) < LATE);
    const turns = between.headers.map((headers) => headers["x-turn"]);
    assert.equal(new Set(turns).size, turns.length);
    assert.ok(turns.length > 6 && !turns.includes(undefined), JSON.stringify(turns));
  });

  test("that holds all, a client that is closed while headers are made sends no more requests", async (t) => {
    const between = await hop(t, SITE, "hold");
    const headers = async () => {
      await new Promise((resolve) => setTimeout(resolve, 200));
      return {};
    };
    const mux = client(t, "/events", { headers }, between.url);
    await until(() => mux.transport === "poll" && mux.state === "open");
    for (const name of [room(), room()]) {
      mux.channel(name);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    mux.close();
    await new Promise((resolve) => setTimeout(resolve, 300));
    const asked = between.asked.length;
    await new Promise((resolve) => setTimeout(resolve, 2500)); // longer than any answer waits
    assert.equal(between.asked.length, asked, JSON.stringify(between.asked));
  });

  test("that lets only the opening pass, polls follow when two streams have fallen silent", async (t) => {
    const between = await hop(t, SITE, "opening");
    const name = room();
    const mux = client(t, "/events", {}, between.url);
    const heard = numbers(mux, name);
    await until(
      () => mux.transport === "poll" && mux.state === "open",
      () => JSON.stringify(mux.states),
      15000,
    );
    assert.ok(mux.states.filter((state) => state === "stale").length <= 2, JSON.stringify(mux.states));
    assert.ok((await pingPong(heard, name, 10)) < LATE);
    await new Promise((resolve) => setTimeout(resolve, 2500)); // in which a stream is tried, and opens
    assert.ok((await pingPong(heard, name, 5)) < LATE);
    assert.deepEqual([heard, mux.transport], [range(1, 15), "poll"]);
  });

  test("that passes blocks, a burst that fills them proves nothing: events after it are not late", async (t) => {
    const between = await hop(t, SITE, "blocks");
    const name = room();
    const mux = client(t, "/events", {}, between.url);
    const heard = numbers(mux, name);
    await isOpen(mux);
    while (between.blocks < 6) {
      await say(10, name);
      await new Promise((resolve) => setTimeout(resolve, 150));
    }
    const slowest = await pingPong(heard, name, 3);
    assert.ok(slowest < LATE, String(slowest));
    assert.deepEqual([heard, mux.transports], [range(1, heard.length), ["stream", "poll"]]);
  });

  for (const [over, site] of [
    ["is sent away", SITE],
    ["ends the oldest", OLDEST],
  ])
    for (const [first, lag] of [
      ["the trial", 0],
      ["the poll", 200],
    ])
      test(`that holds all, a trial takes no poll's user slot: one stream too many ${over}, ${first} is first`, async (t) => {
        const between = Object.assign(await hop(t, site, "hold"), { lag });
        const name = room();
        const mux = client(t, `/events?user=${randomUUID()}`, {}, between.url);
        const replaced = [];
        mux.on("ssemux.replaced", (message) => replaced.push(message));
        const heard = numbers(mux, name);
        await isOpen(mux);
        await until(() => between.asked.filter((url) => !url.includes("poll=")).length > 1, "a trial");
        const end = Date.now() + 3000; // longer than all of that takes
        while (Date.now() < end) {
          const slowest = await pingPong(heard, name, 1);
          assert.ok(slowest < LATE, String(slowest));
          await new Promise((resolve) => setTimeout(resolve, 100));
        }
        assert.deepEqual([mux.states, mux.transport, replaced], [["connecting", "open"], "poll", []]);
      });

  test("that is only slow, streams come back after a heartbeat", async (t) => {
    const between = await hop(t, SITE, "late");
    const name = room();
    const mux = client(t, "/events", {}, between.url);
    const heard = numbers(mux, name);
    await isOpen(mux);
    await until(
      () => mux.transport === "stream",
      () => JSON.stringify(mux.transports),
    );
    assert.deepEqual([mux.transports, mux.errors], [["stream", "poll", "stream"], []]);
    await say(20, name);
    await until(() => heard.length === 20);
    assert.deepEqual(heard, range(1, 20));
    await until(async () => (await look()).streams.filter((names) => names.includes(name)).length === 1, "one stream");
  });

  test("that holds streams for a while, one is tried again from time to time, and nothing is lost in between", async (t) => {
    const between = await hop(t, SITE, "hold");
    const [name, end] = [room(), new AbortController()];
    t.after(() => end.abort());
    let passed = 0;
    const ask = polling({}, () => (passed += 1), { again: 300, trial: 3000 });
    const answer = await ask(`${between.url}/events?channel=${name}`, { headers: {}, signal: end.signal });
    const seen = new Map();
    const parser = new Parser({
      frame: ({ id, data, event }) => event === "n" && seen.set(id, Number(data)),
      retry() {},
    });
    const read = async () => {
      const decoder = new TextDecoder();
      for await (const bytes of answer.body) parser.feed(decoder.decode(bytes, { stream: true }));
    };
    const reading = read().catch((error) => error.name);
    const tries = () => between.asked.filter((url) => !url.includes("poll=")).length;
    let isOver = false;
    const publishing = (async () => {
      while (!isOver) {
        for (let burst = 0; burst < 30 && !isOver; burst += 1) await say(1, name);
        await new Promise((resolve) => setTimeout(resolve, 1500)); // in which a heartbeat comes alone
      }
    })();
    await until(
      () => tries() >= 2,
      () => JSON.stringify(between.asked),
    );
    assert.equal(passed, 0);
    between.how = "pass";
    await until(() => passed, "a stream", 15000);
    isOver = true;
    await publishing;
    const { counts } = await say(5, name);
    await until(() => [...seen.values()].at(-1) === counts[name]);
    assert.deepEqual(
      [...seen.values()].sort((one, other) => one - other),
      range(1, counts[name]),
    );
    const asked = between.asked.length;
    await say(1, name);
    await until(() => seen.size === counts[name] + 1);
    assert.deepEqual([between.asked.length, passed], [asked, 1], "no poll any more");
    end.abort();
    assert.equal(await reading, "AbortError");
  });
});

test("an answer that is not a stream is returned unchanged, and polls end when the server sends them away", async (t) => {
  const end = new AbortController();
  t.after(() => end.abort());
  const ask = (path) => polling({}, () => assert.fail("a stream"))(SITE + path, { headers: {}, signal: end.signal });
  const refused = await ask("/events?channel=secret:1");
  assert.deepEqual([refused.status, (await refused.json()).channel], [401, "secret:1"]);
  const away = await ask(`/answers/${room()}?answers=retry,retry,500`); // the first may be for a stream's sake that was given up
  assert.equal(await away.text(), "retry: 50\n: no room\n");
});

test("a stream that was given up because the polls ended was not buffered: another is tried soon", async (t) => {
  const between = await hop(t, SITE, "hold");
  const end = new AbortController();
  t.after(() => end.abort());
  const name = room();
  const ask = polling({}, () => {}, { again: 600_000, trial: 5000 });
  const body = async () =>
    (await ask(`${between.url}/events?channel=${name}`, { headers: {}, signal: end.signal })).text();
  const tries = () => between.asked.filter((asked) => !asked.includes("poll=")).length;
  const first = body();
  await until(async () => (await look()).streams.filter((names) => names.includes(name)).length === 2, "both");
  await post("/cut?how=end"); // as a deploy does
  await first;
  assert.equal(tries(), 1);
  body().catch(() => {}); // it is ended with the test
  await until(() => tries() === 2, "another", 12000);
});
