// What the tests of ssemux.js in Node share: the real server at URL (tests/apps/tabs.py), and recorded clients of it.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";

import { SSEMux } from "../../../flask_ssemux/static/ssemux.js";

export const SITE = process.env.URL;
const STATES = ["connecting", "open", "stale", "closed"];

/** fetch with a helpful error: its own is always "fetch failed", and the reason is in the cause. */
const request = (path, options) =>
  fetch(SITE + path, options).catch(({ message, cause }) => assert.fail(`${path}: ${message}: ${cause}`));

export const post = async (path, body) => {
  const headers = { "Content-Type": "application/json" };
  const answer = await request(path, { method: "POST", headers, body: body && JSON.stringify(body) });
  assert.ok(answer.ok, `${path}: ${answer.status}`);
  return answer;
};
export const say = async (count, ...channels) =>
  (await post(`/say?count=${count}&${channels.map((name) => `channel=${name}`).join("&")}`)).json();
export const look = async () => (await request("/streams")).json();

/** Return a client whose own events are recorded; it is closed at the end of its test. */
export function client(t, path = "/events", options = {}, site = SITE) {
  const mux = new SSEMux(site + path, options);
  t.after(() => mux.close());
  mux.states = [mux.state];
  mux.transports = [mux.transport];
  for (const name of STATES)
    mux.on(`ssemux.${name}`, ({ state, transport }) => {
      if (state !== mux.states.at(-1)) mux.states.push(state);
      if (transport !== mux.transports.at(-1)) mux.transports.push(transport);
    });
  mux.errors = [];
  mux.on("ssemux.error", (problem) => mux.errors.push(problem));
  return mux;
}

/** Return the numbers that a channel receives, from now on. */
export function numbers(mux, name, event = "n") {
  const heard = [];
  mux.channel(name).on(event, (message) => heard.push(message.json));
  return heard;
}

export async function until(check, what = check, patience = 8000) {
  const limit = Date.now() + patience;
  for (;;) {
    const found = await check();
    if (found) return found;
    if (Date.now() > limit) assert.fail(`never came: ${what instanceof Function ? what() : what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/**
 * A `fetch` that calls `asked(number)` when the client requests its stream of this number (from 1), and passes on the
 * answer after that, when the client has noticed what `asked` changed. Requests from number `held` on wait for `release()`. Short
 * requests pass.
 */
export function streamGate(held, asked) {
  let number = 0;
  let release;
  const released = new Promise((resolve) => (release = resolve));
  const ask = async (url, init) => {
    if (String(url).includes("poll=")) return fetch(url, init);
    number += 1;
    const answer = number < held ? fetch(url, init) : released.then(() => fetch(url, init));
    answer.catch(() => {}); // it may be given up before it is awaited
    await asked(number);
    await new Promise((resolve) => setTimeout(resolve));
    return answer;
  };
  return { ask, release };
}

export const isOpen = (mux) =>
  until(
    () => mux.state === "open",
    () => JSON.stringify([mux.states, mux.errors]),
  );
export const room = () => `room:${randomUUID()}`;
export const range = (from, to) => Array.from({ length: to - from + 1 }, (_, index) => from + index);
