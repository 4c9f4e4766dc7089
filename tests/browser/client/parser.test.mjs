// The parser on the same table of cases as the server's encoder (tests/unit/cases.py, as JSON in CASES), and the
// pauses.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { Parser, pause } from "../../../flask_ssemux/static/ssemux.js";

const cases = JSON.parse(readFileSync(process.env.CASES, "utf-8"));

function parse(pieces) {
  const seen = [];
  const parser = new Parser({ frame: (frame) => seen.push(frame), retry: (retry) => seen.push({ retry }) });
  for (const piece of pieces) parser.feed(piece);
  return seen;
}

const frame = (data, more) => ({ event: "message", data, id: undefined, channel: undefined, ...more });

for (const { title, wire, name, text } of cases) {
  const wanted = [frame(text, { event: name })];
  test(`${title}: whole`, () => assert.deepEqual(parse([wire]), wanted));
  test(`${title}: in pieces of one character`, () => assert.deepEqual(parse(wire), wanted));
  for (const end of ["\r", "\r\n"]) {
    const other = wire.replaceAll("\n", end);
    test(`${title}: with ${JSON.stringify(end)}`, () => assert.deepEqual(parse([other]), wanted));
    test(`${title}: with ${JSON.stringify(end)} in pieces`, () => assert.deepEqual(parse(other), wanted));
  }
}

const TABLE = [
  ["id and channel", "channel: a:1\ndata: x\nid: ab-1\n\n", [frame("x", { id: "ab-1", channel: "a:1" })]],
  ["a channel in a comment", ": channel: a:1\ndata: x\n\n", [frame("x", { channel: "a:1" })]],
  ["comments that name no channel", ":  channel: a\n: channels: b\n: xchannel: c\ndata: x\n\n", [frame("x")]],
  ["an id is its frame's alone", "id: ab-1\ndata: x\n\ndata: y\n\n", [frame("x", { id: "ab-1" }), frame("y")]],
  ["an id with NUL", "id: a\0\ndata: x\n\n", [frame("x")]],
  ["no data", "event: x\nid: 1\n\ndata: y\n\n", [frame("y")]],
  ["no space", "data:x\nevent:e\n\n", [frame("x", { event: "e" })]],
  ["no colon", "data\ndata\n\n", [frame("\n")]],
  ["an empty event", "event: x\nevent:\ndata: y\n\n", [frame("y")]],
  ["comments", ": heartbeat\n\n:\n\ndata: x\n: y\n\n", [frame("x")]],
  ["an unknown field", "other: x\ndata: y\n\n", [frame("y")]],
  ["retry", "retry: 250\n\nretry: 1.5\n\nretry: -1\n\nretry:\n\n", [{ retry: 250 }]],
  ["an end without an empty line", "data: x\n\ndata: y\n", [frame("x")]],
];

for (const [title, wire, wanted] of TABLE) {
  test(title, () => assert.deepEqual(parse([wire]), wanted));
  test(`${title}: in pieces`, () => assert.deepEqual(parse(wire), wanted));
}

test("a long line that comes in many pieces takes time in proportion to its length", () => {
  const seen = [];
  const parser = new Parser({ frame: ({ data }) => seen.push(data) });
  const piece = "x".repeat(1024);
  const before = process.cpuUsage();
  parser.feed("data: ");
  for (let pieces = 0; pieces < 5 * 1024; pieces += 1) parser.feed(piece);
  parser.feed("\n\n");
  const { user, system } = process.cpuUsage(before);
  assert.deepEqual(
    seen.map((data) => data.length),
    [5 * 1024 * 1024],
  );
  assert.ok(user + system < 1_000_000, `${(user + system) / 1000} ms of CPU time`);
});

test("a pause is never shorter than the server's, doubles with each failure, and is spread", () => {
  const shortest = [0, 1, 2, 3, 4, 5, 6, 99].map((failures) => pause(3000, failures, 0));
  assert.deepEqual(shortest, [3000, 3000, 6000, 12000, 24000, 48000, 60000, 60000]);
  assert.equal(pause(3000, 0, 1), 4500);
  assert.equal(pause(90000, 5, 0), 90000);
  const own = new Set(Array.from({ length: 50 }, () => pause(3000, 0)));
  assert.ok(own.size > 40 && Math.min(...own) >= 3000 && Math.max(...own) <= 4500);
});
