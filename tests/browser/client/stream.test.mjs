// ssemux.js in Node against the real server at URL, which runs tests/apps/tabs.py with heartbeats of 1 s and a retry of
// 100 ms.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";

import { client, isOpen, look, numbers, post, range, room, say, streamGate, until } from "./site.mjs";

test("a channel's events, the user's own, and everyone's, each where it belongs", async (t) => {
  const [name, user] = [room(), randomUUID()];
  const mux = client(t, "/events", { headers: { "X-User": user } });
  const seen = [];
  const note = (message) => seen.push([message.channel, message.event, message.data, typeof message.id]);
  mux.channel(name).on("progress", note).on("message", note);
  mux.on("notice", note).on("progress", note);
  await isOpen(mux);
  await post("/publish", { channel: name, event: "progress", data: { done: 1 } });
  await post("/publish", { channel: name, data: "plain" });
  await post("/send", { user, event: "notice", data: "yours" });
  await post("/send", { user: "other", event: "notice", data: "not yours" });
  await post("/broadcast", { event: "notice", data: "all" });
  await until(
    () => seen.length === 4,
    () => JSON.stringify(seen),
  );
  assert.deepEqual(seen, [
    [name, "progress", '{"done":1}', "string"],
    [name, "message", "plain", "string"],
    [undefined, "notice", "yours", "string"],
    [undefined, "notice", "all", "string"],
  ]);
  assert.deepEqual([mux.states, mux.errors], [["connecting", "open"], []]);
});

test("a listener receives nothing after off, and one that throws does not affect the others", async (t) => {
  const name = room();
  const mux = client(t);
  const [one, other] = [[], []];
  const listener = (message) => one.push(message.json);
  const reported = t.mock.method(console, "error", () => {});
  mux
    .channel(name)
    .on("n", listener)
    .on("n", () => {
      throw new Error("a bug");
    })
    .on("n", (message) => other.push(message.json));
  await isOpen(mux);
  await say(1, name);
  await until(() => other.length === 1);
  mux.channel(name).off("n", listener);
  await say(1, name);
  await until(() => other.length === 2);
  assert.deepEqual(one, [1]);
  assert.equal(reported.mock.callCount(), 2);
});

for (const how of ["at once", "end"]) {
  test(`missed events come once and in order when streams end (${how})`, async (t) => {
    const name = room();
    const mux = client(t);
    const heard = numbers(mux, name);
    await isOpen(mux);
    for (let round = 0; round < 5; round += 1) {
      await say(3, name);
      await post(`/cut?how=${how}`);
      await say(3, name);
    }
    await until(
      () => heard.length >= 30,
      () => JSON.stringify(heard),
    );
    assert.deepEqual(heard, range(1, 30));
  });
}

test("channels come and go while events come: each event once, a new channel from then on", async (t) => {
  const [steady, ...others] = [room(), room(), room(), room()];
  const mux = client(t);
  const heard = numbers(mux, steady);
  await isOpen(mux);
  await say(20, ...others);
  let isOver = false;
  const publishing = (async () => {
    while (!isOver) await say(5, steady, ...others);
  })();
  const later = others.map((name) => [name, numbers(mux, name)]);
  for (const [, list] of later) await until(() => list.length > 20);
  mux.channel(others[0]).close();
  await until(async () =>
    (await look()).streams.some((names) => names.includes(others[1]) && !names.includes(others[0])),
  );
  const kept = later[0][1].length;
  for (let round = 0; round < 10; round += 1) {
    const passing = room();
    mux.channel(passing);
    await until(async () => (await look()).streams.some((names) => names.includes(passing)));
    mux.channel(passing).close();
  }
  isOver = true;
  await publishing;
  const { counts } = await say(1, steady, ...others);
  await until(
    () =>
      heard.at(-1) === counts[steady] &&
      later[1][1].at(-1) === counts[others[1]] &&
      later[2][1].at(-1) === counts[others[2]],
  );
  assert.deepEqual(heard, range(1, counts[steady]));
  for (const [name, list] of later.slice(1)) assert.deepEqual(list, range(list[0], counts[name]));
  assert.ok(
    later.every(([, list]) => list[0] > 20),
    "history of before",
  );
  assert.equal(later[0][1].length, kept, "a channel that was closed");
  assert.deepEqual([mux.states, mux.errors], [["connecting", "open"], []]);
  await until(async () => (await look()).streams.filter((names) => names.includes(steady)).length === 1, "one stream");
});

test("a channel that is added later begins with its snapshot; the earlier channels do not get theirs again", async (t) => {
  const [early, late] = [`state:${randomUUID()}`, `state:${randomUUID()}`];
  const mux = client(t);
  const first = numbers(mux, early, "state");
  await isOpen(mux);
  const { counts } = await say(7, early, late);
  const [second, heard] = [numbers(mux, late, "state"), numbers(mux, late)];
  await until(() => second.length);
  await say(1, late);
  await until(() => heard.length);
  assert.deepEqual([first, second, heard], [[0], [7], [8]]);
  assert.equal(counts[early], 7);
});

test("a stream that is being opened is used although more channels are wanted meanwhile, also the first one", async (t) => {
  const names = [room(), room(), room()];
  const lists = [];
  const gate = streamGate(3, (number) => number < 3 && lists.push(numbers(mux, names[number])));
  const mux = client(t, "/events", { fetch: gate.ask });
  lists.push(numbers(mux, names[0]));
  await until(async () => (await look()).streams.some((open) => open.includes(names[1])), "a stream");
  await say(1, names[0], names[1]);
  const all = () => JSON.stringify([lists, mux.states, mux.errors]);
  await until(() => lists[0].length === 1 && lists[1].length === 1, all);
  gate.release();
  await until(async () => (await look()).streams.some((open) => open.includes(names[2])), "a stream");
  await say(1, ...names);
  await until(() => lists[2].length === 1, all);
  assert.deepEqual([lists, mux.states, mux.errors], [[[1, 2], [1, 2], [1]], ["connecting", "open"], []]);
});

test("a channel that is closed before the server refuses it is no error", async (t) => {
  for (const isFirst of [true, false]) {
    const gate = streamGate(9, (number) => number === (isFirst ? 1 : 2) && mux.channel("secret:1").close());
    const mux = client(t, "/events", { headers: { "X-User": "bob" }, fetch: gate.ask });
    if (!isFirst) await isOpen(mux);
    mux.channel("secret:1");
    await isOpen(mux);
    const name = room();
    const heard = numbers(mux, name);
    await until(async () => (await look()).streams.some((names) => names.includes(name)), "a stream");
    await say(1, name);
    await until(() => heard.length === 1);
    assert.deepEqual([mux.states, mux.errors], [["connecting", "open"], []]);
  }
});

test("a page that was rendered at a cursor misses nothing", async (t) => {
  const name = room();
  const { cursors } = await say(2, name);
  await say(3, name);
  const heard = numbers(client(t, "/events", { lastEventId: cursors[1] }), name);
  await until(() => heard.length === 3);
  assert.deepEqual(heard, [3, 4, 5]);
});

test("a lost history is reported, for all and for the channel", async (t) => {
  const name = room();
  const mux = client(t, "/events", { lastEventId: "zzzz-5" });
  const resets = [];
  mux.on("ssemux.reset", (reset) => resets.push(["all", reset]));
  mux.channel(name).on("ssemux.reset", (reset) => resets.push(["channel", reset]));
  const heard = numbers(mux, name);
  await isOpen(mux);
  await until(() => resets.length === 2);
  assert.deepEqual(resets, [
    ["channel", { channels: [name], reason: "epoch" }],
    ["all", { channels: [name, "*"], reason: "epoch" }],
  ]);
  await say(1, name);
  await until(() => heard.length);
});

for (const status of [204, 400, 401, 403, 404, 410]) {
  test(`${status} is final`, async (t) => {
    const key = randomUUID();
    const mux = client(t, `/answers/${key}?answers=${status},${status},${status}`);
    await until(() => mux.state === "closed");
    await new Promise((resolve) => setTimeout(resolve, 500));
    assert.deepEqual(mux.states, ["connecting", "closed"]);
    assert.deepEqual(
      mux.errors.map((problem) => [problem.status, problem.final]),
      [[status, true]],
    );
    assert.equal(
      mux.errors[0].message,
      status === 204 ? "the server ended it for good (HTTP 204)" : "refused by the test",
    );
    assert.equal((await look()).asked[key], 1);
  });
}

test("it continues after temporary answers: 500, 503, 429, a page, no room", async (t) => {
  const key = randomUUID();
  const [name, answers] = [room(), ["500", "retry", "503", "429", "retry", "html"]];
  const mux = client(t, `/answers/${key}?answers=${answers}`);
  const heard = numbers(mux, name);
  await isOpen(mux);
  await say(1, name);
  await until(() => heard.length === 1);
  assert.deepEqual(
    mux.errors.map((problem) => [problem.status, problem.final]),
    [
      [500, false],
      [503, false],
      [429, false],
      [200, false],
    ],
  );
  assert.equal(mux.errors[3].message, "the answer is text/html; charset=utf-8, not a stream");
  assert.deepEqual(mux.states, ["connecting", "open"]);
});

test("a channel that may not be read is reported, and does not affect the others", async (t) => {
  for (const [isFirst, status, headers] of [
    [true, 403, { "X-User": "bob" }],
    [false, 403, { "X-User": "bob" }],
    [true, 401, {}],
    [false, 401, {}],
  ]) {
    const name = room();
    const mux = client(t, "/events", { headers });
    const refused = [];
    const heard = numbers(mux, name);
    if (!isFirst) await isOpen(mux);
    for (const forbidden of ["secret:1", "secret:2"])
      mux.channel(forbidden).on("ssemux.error", (problem) => refused.push(problem));
    await until(() => refused.length === 2);
    await isOpen(mux);
    await say(1, name);
    await until(() => heard.length === 1);
    assert.deepEqual(
      refused.map((problem) => [problem.status, problem.channel, problem.final]),
      [
        [status, "secret:1", false],
        [status, "secret:2", false],
      ],
    );
    assert.deepEqual(mux.states, ["connecting", "open"]);
  }
});

test("the only channel may not be read", async (t) => {
  const mux = client(t, "/events", { headers: { "X-User": "bob" } });
  mux.channel("secret:1");
  await until(() => mux.state === "closed");
  assert.deepEqual(
    mux.errors.map((problem) => [problem.status, problem.channel, problem.final]),
    [[403, "secret:1", true]],
  );
});

test("a stream that falls silent is stale, then given up; the server's time-out counts", async (t) => {
  const [key, name] = [randomUUID(), room()];
  const mux = client(t, `/answers/${key}?answers=silent`, { timeout: 60000 });
  const heard = numbers(mux, name);
  await until(
    () => mux.states.length === 5,
    () => JSON.stringify(mux.states),
  );
  assert.deepEqual(mux.states, ["connecting", "open", "stale", "connecting", "open"]);
  assert.deepEqual(
    mux.errors.map((problem) => problem.message),
    ["nothing came for 1 s"],
  );
  await say(1, name);
  await until(() => heard.length === 1);
});

test("heartbeats keep a quiet stream alive for longer than its time-out", async (t) => {
  const mux = client(t);
  await isOpen(mux);
  await new Promise((resolve) => setTimeout(resolve, 3500)); // SSEMUX_CLIENT_TIMEOUT is 3
  assert.deepEqual([mux.states, mux.errors], [["connecting", "open"], []]);
});

test("a closed client has no stream, and reports nothing more", async (t) => {
  const name = room();
  const mux = client(t);
  const heard = numbers(mux, name);
  await isOpen(mux);
  mux.close();
  await until(async () => !(await look()).streams.some((names) => names.includes(name)));
  await say(1, name);
  assert.deepEqual([heard, mux.states, mux.errors], [[], ["connecting", "open", "closed"], []]);
});

test("a client that gets a stop sends no more requests after its id is answered with 204", async (t) => {
  const [key, name] = [randomUUID(), room()];
  const mux = client(t, `/answers/${key}?answers=stop,204,204`);
  const stops = [];
  mux.channel(name);
  mux.on("ssemux.stop", (message) => stops.push(message));
  await until(
    () => mux.state === "closed",
    () => JSON.stringify([mux.states, mux.errors]),
  );
  assert.deepEqual(stops, [{ reason: "a test" }]);
  assert.deepEqual(mux.states, ["connecting", "open", "connecting", "closed"]);
  assert.deepEqual(
    mux.errors.map((problem) => [problem.status, problem.final]),
    [[204, true]],
  );
  assert.deepEqual((await look()).said[key], [null, "stop"]);
});

test("a client that is closed when it says `connecting` sends no more requests", async (t) => {
  const key = randomUUID();
  const mux = client(t, `/answers/${key}?answers=real`);
  await isOpen(mux);
  mux.on("ssemux.connecting", () => mux.close());
  await post("/cut?how=end");
  await until(() => mux.state === "closed");
  await new Promise((resolve) => setTimeout(resolve, 500));
  assert.equal((await look()).asked[key], 1);
});

test("after a stream was cut between its hello and a snapshot, the snapshot is requested again", async (t) => {
  const mux = client(t, `/answers/${randomUUID()}?answers=real,hello`);
  await isOpen(mux);
  const name = `state:${randomUUID()}`;
  const snapshot = numbers(mux, name, "state");
  await until(() => snapshot.length);
  assert.deepEqual([snapshot, mux.states, mux.errors], [[0], ["connecting", "open"], []]);
});

test("streams that fall silent from time to time are no reason to poll", async (t) => {
  const mux = client(t, `/answers/${randomUUID()}?answers=silent,real,silent`);
  await until(() => mux.errors.length === 1);
  await isOpen(mux);
  await new Promise((resolve) => setTimeout(resolve, 2200)); // in which heartbeats come
  await post("/cut?how=end");
  await until(() => mux.errors.length === 2);
  await isOpen(mux);
  assert.deepEqual(
    mux.errors.map(({ message }) => message),
    ["nothing came for 1 s", "nothing came for 1 s"],
  );
  assert.deepEqual(mux.transports, ["stream"]);
});

test('"*" stands for each event that was published, and for none of the client\'s own', async (t) => {
  const [mux, name] = [client(t), room()];
  const [heard, everyones] = [[], []];
  mux.on("*", ({ event }) => everyones.push(event));
  mux.channel(name).on("*", ({ event, json }) => heard.push([event, json]));
  await isOpen(mux);
  await post("/publish", { channel: name, data: 1, event: "named" });
  await post("/publish", { channel: name, data: 2 });
  await post("/broadcast", { data: 3, event: "notice" });
  await until(() => everyones.length);
  assert.deepEqual(heard, [
    ["named", 1],
    ["message", 2],
  ]);
  assert.deepEqual(everyones, ["notice"]);
});

test("a channel that was closed does not close another one of its name", async (t) => {
  const [mux, name] = [client(t), room()];
  const old = mux.channel(name);
  old.close();
  const heard = numbers(mux, name);
  old.close();
  await isOpen(mux);
  await say(1, name);
  await until(() => heard.length);
  assert.deepEqual(heard, [1]);
});

test("a client with a connection of its own leads until it is closed", async (t) => {
  const [mux, told] = [client(t), []];
  mux.on("ssemux.leader", ({ leader }) => told.push([leader, mux.leader]));
  assert.equal(mux.leader, false);
  await isOpen(mux);
  mux.close();
  assert.deepEqual(told, [
    [true, true],
    [false, false],
  ]);
});
