// The hooks for React and the composables for Vue in Vitest with jsdom, against the real server (tests/apps/tabs.py): what is
// read while components come and go. test_client_package.py runs it; test_frameworks.py has whole pages in a browser.
/* global afterEach, expect, test, vi */

import { createElement, StrictMode, useState } from "react";
import { flushSync } from "react-dom";
import { createRoot } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { SSEMux } from "flask-ssemux";
import * as react from "flask-ssemux/react";
import * as vue from "flask-ssemux/vue";
import { effectScope, nextTick, reactive, ref } from "vue";

const room = () => `room:${crypto.randomUUID()}`;
const say = (channel) => fetch(`${location.origin}/say?channel=${channel}`, { method: "POST" });
const read = async () => (await (await fetch(`${location.origin}/streams`)).json()).streams.flat();
const until = (check) => vi.waitFor(async () => expect(await check()).toBe(true), { timeout: 20000, interval: 20 });

const ends = [];
afterEach(() => ends.splice(0).forEach((end) => end()));

/** Return an SSEMux, and how often it requested a stream. */
function connect() {
  let requests = 0;
  const counted = (url, init) => {
    requests += 1;
    return fetch(url, init);
  };
  const mux = new SSEMux("/events", { fetch: counted });
  ends.push(() => mux.close());
  return { mux, count: () => requests };
}

/** Render a component of React in StrictMode; return the function that renders others, or nothing. */
function render(...elements) {
  const root = createRoot(document.createElement("div"));
  const show = (...shown) => flushSync(() => root.render(createElement(StrictMode, null, ...shown)));
  ends.push(() => root.unmount());
  show(...elements);
  return show;
}

/** A component that reads numbers of a channel, and passes them on. */
function Reader({ mux, name, take }) {
  react.useEvent(react.useChannel(mux, name), "n", ({ json }) => take(json));
  return null;
}

test("React: components share a channel, replace each other in it, and the last one leaves it", async () => {
  const [{ mux, count }, name] = [connect(), room()];
  const [one, other] = [[], []];
  const reader = (key, heard) => createElement(Reader, { key, mux, name, take: (number) => heard.push(number) });
  const show = render(reader("a", one), reader("b", other));
  await until(async () => (await read()).includes(name));
  await say(name);
  await until(() => one.length === 1 && other.length === 1);
  const before = count();
  show(reader("b", other));
  await say(name);
  await until(() => other.length === 2);
  show(reader("c", one));
  await say(name);
  await until(() => one.length === 2);
  expect([one, other, count()]).toEqual([[1, 3], [1, 2], before]);
  show();
  await until(async () => !(await read()).includes(name));
});

test("React: the listener is that of the last render, and the last event that of the channel", async () => {
  const [{ mux }, first, second] = [connect(), room(), room()];
  const seen = [];
  let [rename, rerender] = [];
  function Page() {
    const [name, setName] = useState(first);
    const [round, setRound] = useState(0);
    [rename, rerender] = [setName, setRound];
    const channel = react.useChannel(mux, name);
    react.useEvent(channel, "n", ({ json }) => seen.push([round, json]));
    return (seen.last = react.useEvent(channel, "n")?.json);
  }
  render(createElement(Page));
  await until(async () => (await read()).includes(first));
  await say(first);
  await until(() => seen.last === 1);
  flushSync(() => rerender(7));
  await say(first);
  await until(() => seen.last === 2);
  expect(seen.slice()).toEqual([
    [0, 1],
    [7, 2],
  ]);
  rename(second);
  await until(() => seen.last === undefined);
  await until(async () => (await read()).includes(second) && !(await read()).includes(first));
});

test("React: an SSEMux of a component is closed with it, and another user gets another one", async () => {
  const made = [];
  function Page({ url, user }) {
    const mux = react.useSSEMux(url, { user });
    if (mux && !made.includes(mux)) made.push(mux);
    return react.useConnection(mux).state;
  }
  const show = render(createElement(Page, { url: null }));
  show(createElement(Page, { url: "/events", user: 1 }));
  await until(() => made.at(-1)?.state === "open");
  const before = made.at(-1);
  show(createElement(Page, { url: "/events", user: 2 }));
  await until(() => made.at(-1) !== before && made.at(-1).state === "open");
  expect(before.state).toBe("closed");
  show();
  await until(() => made.every((mux) => mux.state === "closed"));
});

test("React: a server renders hooks without a connection", () => {
  function Page() {
    const channel = react.useChannel(undefined, "news");
    return String(react.useEvent(channel, "n")) + react.useConnection(react.useSSEMux("/events")).state;
  }
  expect(renderToString(createElement(Page))).toBe("undefinedconnecting");
});

test("Vue: a channel follows its name, and is left with the scope", async () => {
  const [{ mux }, first, second] = [connect(), room(), room()];
  const [name, seen, scope] = [ref(first), [], effectScope()];
  const { last, connection } = scope.run(() => {
    const channel = vue.useChannel(reactive({ mux }).mux, name);
    return {
      last: vue.useEvent(channel, "n", ({ json }) => seen.push(json)),
      connection: vue.useConnection(() => mux),
    };
  });
  await until(async () => (await read()).includes(first));
  await say(first);
  await until(() => last.value?.json === 1 && connection.value.state === "open");
  expect(connection.value).toEqual({ state: "open", transport: "stream", leader: true });
  name.value = second;
  await nextTick();
  expect(last.value).toBe(undefined);
  await until(async () => (await read()).includes(second) && !(await read()).includes(first));
  await say(second);
  await until(() => last.value?.json === 1);
  expect(seen).toEqual([1, 1]);
  name.value = null;
  await until(async () => !(await read()).includes(second));
  scope.stop();
  mux.close();
  expect(connection.value.state).toBe("open"); // the scope follows nothing any more
});

test("Vue: an SSEMux of a scope is closed with it", async () => {
  const [url, scope] = [ref(null), effectScope()];
  const mux = scope.run(() => vue.useSSEMux(url, () => ({ user: 7 })));
  expect(mux.value).toBe(undefined);
  url.value = "/events";
  await until(() => mux.value?.state === "open");
  const made = mux.value;
  scope.stop();
  expect([made.state, mux.value]).toEqual(["closed", undefined]);
});
