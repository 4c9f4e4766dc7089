// mux.run() in Node against the real server at URL, which runs tests/apps/answers.py with a heartbeat of 1 s.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";

import { hop } from "./hop.mjs";
import { client, range, SITE, until } from "./site.mjs";
import { Run } from "../../../flask_ssemux/static/ssemux.js";

const JSON_HEADERS = { "Content-Type": "application/json" };
const USER = randomUUID();

/** The options of a POST that starts a run which counts. */
const counting = (body, headers = {}) => ({
  method: "POST",
  body: JSON.stringify(body),
  headers: { ...JSON_HEADERS, "X-User": USER, ...headers },
});

/** Return a new key, by which the server counts how often a run was started, and the number of these starts. */
function makeKey() {
  const key = randomUUID();
  return { key, count: async () => (await (await fetch(`${SITE}/started`)).json())[key] };
}

/** Return a Run whose own events are recorded. */
function startRun(t, url, options) {
  const run = new Run(url, options);
  t.after(() => run.close());
  run.states = [];
  run.errors = [];
  for (const name of ["connecting", "open", "stale", "done", "failed", "cancelled", "lost", "closed"])
    run.on(`ssemux.${name}`, ({ state }) => run.states.push(state));
  run.on("ssemux.error", (problem) => run.errors.push(problem));
  return run;
}

async function collect(run, heard = []) {
  for await (const { event, json } of run) heard.push(event === "n" ? json : event);
  return heard;
}

/** Wait until the page has had so many numbers. */
const has = (heard, count) =>
  until(
    () => heard.length >= count,
    () => JSON.stringify(heard),
  );

test("a run is iterated over from its POST to its end, and read again at its URL", async (t) => {
  const mux = client(t, "/events", { headers: { "X-User": USER } });
  const { key, count } = makeKey();
  const { headers, ...options } = counting({ to: 30 });
  delete headers["X-User"]; // those of the SSEMux are sent too
  const run = mux.run(`${SITE}/count?key=${key}`, { ...options, headers });
  const heard = [];
  for await (const message of run) {
    heard.push(message.json);
    assert.deepEqual([message.event, typeof message.id], ["n", "string"]);
  }
  assert.deepEqual([heard, run.state], [range(1, 30), "done"]);
  const again = mux.run(run.url);
  assert.deepEqual([await collect(again), again.state, again.id], [range(1, 30), "done", run.id]);
  assert.equal(await count(), 1);
  await assert.rejects(collect(startRun(t, run.url)), { status: 401 });
});

test("a page that listens gets each event by its name, and the end", async (t) => {
  const run = startRun(t, `${SITE}/count`, counting({ to: 5 }));
  const heard = [];
  run.on("n", ({ json }) => heard.push(json)).on("ssemux.run", ({ state }) => heard.push(state));
  run.on("ssemux.open", ({ url }) => heard.push(url === run.url && url.endsWith(run.id)));
  await has(heard, 7);
  assert.deepEqual(heard, [true, ...range(1, 5), "done"]);
  assert.deepEqual([run.states, run.errors], [["open", "done"], []]);
});

test("a POST that was cut is not sent again: the page goes on by GET, also after 502 and without network", async (t) => {
  const { key, count } = makeKey();
  const allow = (number) => fetch(`${SITE}/allow/${key}/${number}`, { method: "POST" });
  const on = await hop(t, SITE, "pass");
  await allow(10);
  const run = startRun(t, `${on.url}/count?key=${key}`, counting({ to: 60 }));
  const heard = [];
  const end = collect(run, heard);
  for (const [number, how] of [
    [10, "502"],
    [30, "away"],
    [50, "pass"],
  ]) {
    await has(heard, number);
    const asked = on.asked.length;
    on.how = how;
    on.cut();
    await allow(number + 20);
    await until(() => on.asked.length > asked);
    on.how = "pass";
  }
  await end;
  assert.deepEqual(heard, range(1, 60));
  assert.equal(await count(), 1);
  assert.deepEqual([on.methods[0], new Set(on.methods.slice(1))], ["POST", new Set(["GET"])]);
  assert.ok(run.errors.length >= 3 && run.errors.every(({ final }) => !final), JSON.stringify(run.errors));
  assert.equal(run.state, "done");
});

test("a page that the browser suspends, and an answer that falls silent, go on by GET", async (t) => {
  globalThis.document = Object.assign(new EventTarget(), { hidden: false });
  t.after(() => delete globalThis.document);
  const { key, count } = makeKey();
  const allow = (number) => fetch(`${SITE}/allow/${key}/${number}`, { method: "POST" });
  await allow(10);
  const on = await hop(t, SITE, "pass");
  const runs = [20, 60].map((to) => startRun(t, `${on.url}/count?key=${key}`, counting({ to })));
  const silent = startRun(t, `${on.url}/count?key=${key}`, { ...counting({ to: 20 }), timeout: 300 });
  const heard = [[], [], []];
  const ends = [...runs, silent].map((run, index) => collect(run, heard[index]));
  for (const list of heard) await has(list, 10);
  await until(() => on.methods.length === 4, "the GET of the silent one");
  document.dispatchEvent(new Event("freeze"));
  assert.deepEqual(
    runs.map(({ state }) => state),
    ["connecting", "connecting"],
  );
  await allow(60);
  document.dispatchEvent(new Event("resume"));
  await Promise.all(ends);
  assert.deepEqual(heard, [range(1, 20), range(1, 60), range(1, 20)]);
  assert.equal(await count(), 3);
  assert.deepEqual(on.methods.filter((method) => method === "POST").length, 3);
});

test("a run is read through a hop that holds streams back", async (t) => {
  const { key } = makeKey();
  const allow = (number) => fetch(`${SITE}/allow/${key}/${number}`, { method: "POST" });
  await allow(10);
  const started = startRun(t, `${SITE}/count?key=${key}`, counting({ to: 30 }));
  await until(() => started.url);
  const on = await hop(t, SITE, "hold");
  const heard = [];
  const run = startRun(t, started.url.replace(SITE, on.url), { headers: { "X-User": USER } });
  const end = collect(run, heard);
  await has(heard, 10);
  await allow(30);
  await end;
  assert.deepEqual([heard, run.state, run.errors], [range(1, 30), "done", []]);
});

test("a POST that nobody answered, or that was refused, is an error for good, and is not sent again", async (t) => {
  const on = await hop(t, SITE, "pass");
  for (const [how, status] of [
    ["away", undefined],
    ["502", 502],
  ]) {
    on.how = how;
    const run = startRun(t, `${on.url}/count`, counting({ to: 3 }));
    await assert.rejects(collect(run), (error) => error.status === status);
    assert.deepEqual([run.state, run.errors.map(({ final }) => final)], ["closed", [true]]);
  }
  assert.equal(on.asked.length, 2);
});

test("a POST that is answered with the run's URL is followed", async (t) => {
  const { key, count } = makeKey();
  const run = startRun(t, `${SITE}/count?json&key=${key}`, counting({ to: 20 }));
  assert.deepEqual(await collect(run), range(1, 20));
  assert.equal(await count(), 1);
});

test("a run that fails throws after its last event; one that is cancelled ends", async (t) => {
  const heard = [];
  const failing = startRun(t, `${SITE}/count`, counting({ to: 9, fails: 4 }));
  await assert.rejects(collect(failing, heard), { state: "failed", message: "the run is failed" });
  assert.deepEqual(heard, [1, 2, 3]);
  const cancelled = startRun(t, `${SITE}/count`, counting({ to: 1e6 }));
  for await (const { json } of cancelled)
    if (json === 5) await fetch(`${SITE}/cancel/${cancelled.id}`, { method: "POST" });
  assert.equal(cancelled.state, "cancelled");
});

test("a page that leaves does not stop the run, and nobody else reads it", async (t) => {
  const run = startRun(t, `${SITE}/count`, counting({ to: 60 }));
  for await (const { json } of run) if (json === 5) break;
  assert.equal(run.state, "closed");
  const late = startRun(t, run.url, { headers: { "X-User": USER } });
  assert.deepEqual(await collect(late), range(1, 60));
  for (const [user, status] of [
    [randomUUID(), 403],
    ["", 401],
  ]) {
    const other = startRun(t, run.url, { headers: user && { "X-User": user } });
    await assert.rejects(collect(other), { status });
  }
});

test("a page that has had a part resumes after it, and after the end it is told that there is no more", async (t) => {
  const run = startRun(t, `${SITE}/count`, counting({ to: 10 }));
  const ids = [];
  for await (const { id } of run) ids.push(id);
  const headers = { "X-User": USER };
  assert.deepEqual(await collect(startRun(t, run.url, { headers, lastEventId: ids[6] })), [8, 9, 10]);
  const answer = await fetch(run.url, { headers });
  const last = (await answer.text())
    .match(/^id: (.*)$/gm)
    .pop()
    .slice(4);
  await assert.rejects(collect(startRun(t, run.url, { headers, lastEventId: last })), { status: 204 });
});

test("an event that comes a second time, as when a stream replaces polls, is not given to the page again", async (t) => {
  const frame = (number) => `event: n\ndata: ${number}\nid: a-${number}\n\n`;
  const end = 'event: ssemux.run\ndata: {"state":"done"}\nid: a-4\n\n';
  const text = [1, 2, 1, 2, 3].map(frame).join("") + end;
  const headers = { "Content-Type": "text/event-stream" };
  const run = startRun(t, `${SITE}/events/run/x`, { fetch: async () => new Response(text, { headers }) });
  assert.deepEqual(await collect(run), [1, 2, 3]);
});
