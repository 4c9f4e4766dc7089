// Tabs that share a connection, in one process: what each of them receives of a channel, wherever it begins. The server
// is that of stream.test.mjs. What browsers do to tabs is tested in test_client_tabs.py.

import "./shims.mjs";

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";

import { client, isOpen, look, numbers, post, range, room, say, streamGate, until } from "./site.mjs";

const pass = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const answers = (...kinds) => `/answers/${randomUUID()}?answers=${["real", ...kinds]}`;
const state = () => `state:${randomUUID()}`;

/** Return the numbers that a tab receives on everyone's channel. */
function everyones(mux) {
  const heard = [];
  mux.on("n", (message) => heard.push(message.json));
  return heard;
}

/** A `fetch` whose short requests wait until they are released. */
function gate() {
  const held = [];
  const ask = async (url, init) => {
    if (String(url).includes("poll=now")) await new Promise((resolve) => held.push(resolve));
    return fetch(url, init);
  };
  return { ask, held };
}

const oneStream = (name) =>
  until(async () => (await look()).streams.filter((names) => names.includes(name)).length === 1, "one stream");

test("a tab that was rendered at a cursor and names no channel receives all events since then", async (t) => {
  const url = answers();
  const first = client(t, url);
  await isOpen(first);
  const { cursors, counts } = await say(3, "*");
  const heard = everyones(client(t, url, { lastEventId: cursors[0] }));
  await until(
    () => heard.length === 2,
    () => JSON.stringify(heard),
  );
  const { counts: later } = await say(1, "*");
  await until(() => heard.at(-1) === later["*"]);
  assert.deepEqual(heard, range(counts["*"] - 1, later["*"]));
});

test("tabs that were rendered at different cursors each continue from their own, and earlier tabs receive nothing twice", async (t) => {
  const [url, name] = [answers(), room()];
  const first = client(t, url);
  await isOpen(first);
  const { cursors } = await say(5, name);
  const one = numbers(client(t, url, { lastEventId: cursors[0] }), name);
  const other = numbers(client(t, url, { lastEventId: cursors[2] }), name);
  const late = numbers(first, name);
  await until(
    () => one.length === 4 && other.length === 2,
    () => JSON.stringify([one, other]),
  );
  await say(1, name);
  await until(
    () => [one, other, late].every((heard) => heard.at(-1) === 6),
    () => JSON.stringify([one, other, late]),
  );
  assert.deepEqual([one, other, late], [range(2, 6), range(4, 6), range(late[0], 6)]); // it may receive what others read again
  await oneStream(name);
});

test("a tab that is opened later gets the latest of everyone's events, and what follows", async (t) => {
  const url = answers();
  const { counts } = await say(1, "*&latest");
  const heard = everyones(client(t, url));
  await until(() => heard.length === 1);
  const late = everyones(client(t, url));
  await until(() => late.length === 1);
  const { counts: now } = await say(1, "*");
  await until(() => late.length === 2 && heard.length === 2);
  assert.deepEqual(
    [heard, late],
    [
      [counts["*"], now["*"]],
      [counts["*"], now["*"]],
    ],
  );
});

for (const kinds of [["retry"], ["503", "retry", "html"]]) {
  test(`a snapshot that does not arrive at once (${kinds}) is requested again`, async (t) => {
    const [url, name] = [answers(...kinds), state()];
    const first = client(t, url);
    first.channel(name);
    await isOpen(first);
    await say(3, name);
    const second = client(t, url);
    const [snapshot, heard] = [numbers(second, name, "state"), numbers(second, name)];
    await until(
      () => snapshot.length,
      () => JSON.stringify(second.errors),
    );
    await say(1, name);
    await until(() => heard.length);
    assert.deepEqual([snapshot, heard], [[3], [4]]);
    assert.ok(
      second.errors.every(({ final }) => !final) &&
        second.errors.length === kinds.filter((kind) => kind !== "retry").length,
    );
  });
}

test("events during a failed short request are not lost if no snapshot contains them", async (t) => {
  const [url, name, user] = [answers("retry"), room(), randomUUID()];
  const first = client(t, url, { user });
  const heard = numbers(first, name);
  await isOpen(first);
  const { ask, held } = gate();
  const second = client(t, url, { user, fetch: ask });
  const [late, own] = [numbers(second, name), everyones(second)];
  await until(() => held.length === 1);
  const { counts } = await say(3, name, "*");
  await until(() => heard.length === 3);
  held[0]();
  await until(() => held.length === 2);
  assert.deepEqual([late, own], [[], []]);
  held[1]();
  await until(() => late.length === 3);
  await say(1, name);
  await until(() => late.length === 4);
  assert.deepEqual([late, own.slice(-3)], [range(1, 4), range(counts["*"] - 2, counts["*"])]);
});

test("events during a short request are not lost if the leader is cut off meanwhile", async (t) => {
  const [user, name] = [randomUUID(), room()];
  const { ask, held } = gate();
  const url = "/events";
  const early = numbers(client(t, url, { user, fetch: ask }), name);
  await until(async () => (await look()).streams.some((names) => names.includes(name)), "a stream");
  await say(1, name);
  await until(() => early.length === 1);
  await post("/patience?seconds=2");
  await post("/cut");
  const late = numbers(client(t, url, { user, fetch: ask }), name);
  await until(() => held.length === 1, "its short request");
  await say(5, name); // the leader receives these later than the short request
  held[0]();
  await until(
    () => early.length === 6 && late.length === 5,
    () => JSON.stringify([early, late]),
  );
  assert.deepEqual([early, late], [range(1, 6), range(2, 6)]);
});

test("a tab begins with the snapshot, whatever arrives while it is being requested", async (t) => {
  const url = answers();
  const [first, second] = [client(t, url), client(t, url)];
  await isOpen(second);
  for (let round = 0; round < 30; round += 1) {
    const name = state();
    const heard = numbers(first, name);
    await until(async () => (await look()).streams.some((names) => names.includes(name)));
    await say(1, name);
    await until(() => heard.length === 1);
    const saying = say(1, name);
    await pass(round / 5);
    const seen = [];
    second
      .channel(name)
      .on("state", ({ json }) => seen.push(["state", json]))
      .on("n", ({ json }) => seen.push(["n", json]));
    await saying;
    await say(1, name);
    await until(
      () => seen.at(-1)?.[1] === 3,
      () => JSON.stringify([round, seen]),
    );
    assert.equal(seen[0][0], "state", JSON.stringify([round, seen]));
    assert.deepEqual(
      seen.map(([, number]) => number),
      range(seen[0][1], 3),
    );
    first.channel(name).close();
    second.channel(name).close();
  }
});

test("a channel begins with the first stream that the server opens for it, also if another tab leaves one meanwhile", async (t) => {
  const [user, left, added] = [randomUUID(), room(), room()];
  const gate = streamGate(4, (number) => number === 3 && second.channel(left).close());
  const first = client(t, "/events", { user, fetch: gate.ask });
  await isOpen(first);
  const second = client(t, "/events", { user, fetch });
  second.channel(left);
  await oneStream(left);
  const heard = numbers(first, added);
  await until(async () => (await look()).streams.some((names) => names.includes(added)), "a stream");
  await say(1, added);
  await until(() => heard.length === 1, "an event that was published after the server had opened a stream for it");
  gate.release();
  await until(async () => !(await look()).streams.some((names) => names.includes(left)), "the stream without it");
  await say(1, added);
  await until(() => heard.length === 2);
  assert.deepEqual(heard, [1, 2]);
});

test("a channel that begins in one tab is read from the cursor of another tab that comes meanwhile", async (t) => {
  const [user, name] = [randomUUID(), room()];
  let late;
  const gate = streamGate(9, async (number) => {
    if (number !== 2) return;
    const second = client(t, "/events", { user, fetch, lastEventId: cursors[0] });
    late = numbers(second, name);
    await isOpen(second); // the leader knows what it wants
  });
  const first = client(t, "/events", { user, fetch: gate.ask });
  await isOpen(first);
  const { cursors } = await say(3, name);
  const heard = numbers(first, name);
  await until(
    () => late?.length === 2,
    () => JSON.stringify([heard, late]),
  );
  await say(1, name);
  await until(
    () => heard.at(-1) === 4 && late.at(-1) === 4,
    () => JSON.stringify([heard, late]),
  );
  assert.deepEqual([heard, late], [range(heard[0], 4), range(2, 4)]);
});

test("a channel that one tab leaves while another tab joins it is read without a gap", async (t) => {
  const [user, name] = [randomUUID(), room()];
  let late;
  const gate = streamGate(2, (number) => number === 2 && (late = numbers(second, name)));
  const first = client(t, "/events", { user, fetch: gate.ask });
  first.channel(name);
  await isOpen(first);
  let joined = 0;
  const second = client(t, "/events", {
    user,
    fetch: async (url, init) => {
      const answer = await fetch(url, init);
      joined += String(url).includes(encodeURIComponent(name));
      return answer;
    },
  });
  await isOpen(second);
  first.channel(name).close();
  await until(() => joined === 1, "the answer to its short request");
  await post("/cut");
  await until(() => first.states.at(-1) === "connecting");
  await say(1, name);
  gate.release();
  await until(
    () => late.length === 1,
    () => JSON.stringify([first.states, first.errors]),
  );
  assert.deepEqual(late, [1]);
});

test("a channel that is closed and opened again while its snapshot is being requested gets one snapshot", async (t) => {
  const [url, name, user] = [answers(), state(), randomUUID()];
  const first = client(t, url, { user });
  first.channel(name);
  await isOpen(first);
  const { ask, held } = gate();
  const second = client(t, url, { user, fetch: ask });
  const old = numbers(second, name, "state");
  await until(() => held.length === 1);
  second.channel(name).close();
  const [snapshot, heard] = [numbers(second, name, "state"), numbers(second, name)];
  await until(() => held.length === 2);
  held[0]();
  await pass(200);
  await say(1, name);
  held[1]();
  await until(() => snapshot.length);
  await say(1, name);
  await until(() => heard.length);
  assert.deepEqual([old, snapshot, heard], [[], [1], [2]]);
});

test("a channel that one tab may not read does not affect the others, even while there is no stream", async (t) => {
  const key = randomUUID();
  const url = `/answers/${key}?answers=real,real,503,503,503`;
  const first = client(t, url);
  await isOpen(first);
  const second = client(t, url);
  await until(async () => second.state === "open" && (await look()).asked[key] === 2);
  await post("/cut");
  await until(() => first.states.at(-1) === "connecting");
  const refused = [];
  second.channel("secret:1").on("ssemux.error", (problem) => refused.push(problem));
  await until(
    () => refused.length,
    () => JSON.stringify([first.errors, second.errors]),
  );
  assert.deepEqual(
    refused.map(({ status, channel, final }) => [status, channel, final]),
    [[401, "secret:1", false]],
  );
  await isOpen(first);
  await isOpen(second);
});

test("joins leave nothing behind", async (t) => {
  const [url, name] = [answers(), room()];
  const signals = new Map();
  const { addEventListener, removeEventListener } = AbortSignal.prototype;
  const note = (signal, change) => signals.set(signal, (signals.get(signal) ?? 0) + change);
  t.mock.method(AbortSignal.prototype, "addEventListener", function add(kind, ...more) {
    note(this, 1);
    return addEventListener.call(this, kind, ...more);
  });
  t.mock.method(AbortSignal.prototype, "removeEventListener", function remove(kind, ...more) {
    note(this, -1);
    return removeEventListener.call(this, kind, ...more);
  });
  const first = client(t, url);
  numbers(first, name);
  await isOpen(first);
  const second = client(t, url);
  for (let round = 1; round <= 12; round += 1) {
    const heard = numbers(second, name);
    await until(async () => (await say(1, name)) && heard.length);
    second.channel(name).close();
  }
  assert.ok(Math.max(...signals.values()) < 12, JSON.stringify([...signals.values()]));
});

test("a server that says stop ends all tabs", async (t) => {
  const key = randomUUID();
  const url = `/answers/${key}?answers=real,real,stop,204,204`;
  const tabs = [client(t, url)];
  await isOpen(tabs[0]);
  tabs.push(client(t, url));
  await until(async () => (await look()).asked[key] === 2);
  const stops = [];
  for (const mux of tabs) mux.on("ssemux.stop", (message) => stops.push(message.reason));
  await post("/cut?how=end");
  await until(
    () => tabs.every((mux) => mux.state === "closed"),
    () => JSON.stringify(tabs.map((mux) => mux.states)),
  );
  assert.deepEqual(stops, ["a test", "a test"]);
  assert.deepEqual(
    tabs.map((mux) => mux.errors.map(({ status, final }) => [status, final])),
    [[[204, true]], [[204, true]]],
  );
});

test("a tab takes what the former leader passed on, before it becomes the leader", async (t) => {
  const [url, name] = [answers(), room()];
  const first = client(t, url);
  await isOpen(first);
  const second = client(t, url);
  const heard = [];
  second.channel(name).on("n", ({ json }) => heard.push([json, second.leader]));
  await oneStream(name);
  const wire = new BroadcastChannel(JSON.stringify(["ssemux.", first.url, undefined]));
  t.after(() => wire.close());
  let last;
  wire.onmessage = ({ data }) => {
    if (data.is === "frame" && data.it.channel === name) last = data;
    if (data.is !== "who") return;
    const [epoch, sequence] = last.it.id.split("-"); // one more event of the former leader, as if it came late
    wire.postMessage({ ...last, it: { ...last.it, data: "2", id: `${epoch}-${Number(sequence) + 1}` } });
  };
  await say(1, name);
  await until(() => heard.length && last);
  const before = heard.length;
  first.close();
  await until(() => heard.length > before);
  assert.deepEqual(heard.at(-1), [2, false]);
  await until(() => second.leader);
});
