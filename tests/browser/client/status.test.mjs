// The status page's memory, and the rates that it computes from counters.

import assert from "node:assert/strict";
import { test } from "node:test";

import { History } from "../../../flask_ssemux/static/status_history.js";

/** A status at this time, with workers `{name: [at, delivered, past]}`. */
function makeStatus(at, workers, { events = 0, epoch = "abcd", streams = 0, late = 0 } = {}) {
  const made = Object.entries(workers).map(([name, [at, delivered, past]]) => ({ name, at, delivered, past }));
  return {
    at,
    workers: made,
    broker: { cursor: `${epoch}-${events}` },
    totals: { streams, events, late },
    report_seconds: 5,
  };
}

test("a rate is computed from a worker's last two reports, whenever the status comes", () => {
  const history = new History();
  history.addStatus(makeStatus(100, { a: [99, 0], b: [97, 500] }));
  assert.equal(history.last.delivered, undefined);
  history.addStatus(makeStatus(102, { a: [102, 30], b: [97, 500] }));
  assert.deepEqual([history.rateOf("a"), history.rateOf("b"), history.last.delivered], [10, undefined, 10]);
  history.addStatus(makeStatus(104, { a: [104, 30], b: [102, 600] }));
  assert.deepEqual([history.rateOf("a"), history.rateOf("b"), history.last.delivered], [0, 20, 20]);
  history.addStatus(makeStatus(106, { a: [106, 60], b: [102, 600] }));
  assert.equal(history.last.delivered, 15 + 20, "a worker without a new report keeps its rate");
});

test("the rate of a worker that ended is forgotten", () => {
  const history = new History();
  history.addStatus(makeStatus(100, { a: [100, 0], b: [100, 0] }));
  history.addStatus(makeStatus(102, { a: [102, 20], b: [102, 40] }));
  history.addStatus(makeStatus(104, { a: [104, 40] }));
  assert.equal(history.last.delivered, 10);
  assert.equal(history.rateOf("b"), undefined);
});

test("the rate of published events comes from the newest sequence of one epoch", () => {
  const history = new History();
  history.addStatus(makeStatus(100, {}, { events: 7 }));
  history.addStatus(makeStatus(102, {}, { events: 27 }));
  history.addStatus(makeStatus(104, {}, { events: 3, epoch: "other" }));
  history.addStatus(makeStatus(106, {}, { events: 5, epoch: "other" }));
  history.addStatus({ ...makeStatus(108, {}), totals: { streams: 0, events: null } });
  assert.deepEqual(
    history.points.map((one) => one.published),
    [undefined, 10, undefined, 1, undefined],
  );
});

test("a leap of the sequence to the time in microseconds is not a rate", () => {
  const history = new History();
  const start = 1_800_000_000;
  history.addStatus(makeStatus(start, {}, { events: 7 }));
  history.addStatus(makeStatus(start + 2, {}, { events: 27 }));
  history.addStatus(makeStatus(start + 4, {}, { events: (start + 3) * 1e6 }));
  history.addStatus(makeStatus(start + 6, {}, { events: (start + 3) * 1e6 + 30 }));
  history.addStatus(makeStatus(start + 11, {}, { events: (start + 8) * 1e6 })); // restarted within five seconds
  assert.deepEqual(
    history.points.map((one) => one.published),
    [undefined, 10, undefined, 15, undefined],
  );
});

test("two statuses within a moment are one point", () => {
  const history = new History();
  history.addStatus(makeStatus(100, { a: [100, 0] }, { streams: 4 }));
  history.addStatus(makeStatus(100.2, { a: [100.2, 9] }, { streams: 5, events: 9 }));
  const [{ at, streams, delivered, late }, ...others] = history.points;
  assert.deepEqual([at, streams, delivered, late, others], [100.2, 5, undefined, 0, []]);
  history.addStatus(makeStatus(102, { a: [102, 20] }, { events: 20 }));
  assert.deepEqual([history.points.length, history.last.delivered, history.last.published], [2, 10, 10]);
});

test("what the workers kept is one history, in steps of their reports", () => {
  const a = [
    [70, 1, 0],
    [75, 3, 50],
    [80, 3, 50],
    [85, 3, 100],
    [90, 3, 100],
    [95, 3, 100],
  ];
  const b = [
    [77, 10, 0],
    [82, 10, 100],
    [87, 10, 100],
    [92, 10, 100],
  ];
  const history = new History();
  history.addStatus(makeStatus(97, { a: [95, 100, a], b: [97, 150, b] }, { streams: 13 }));
  const seen = history.points.map(({ at, streams, delivered }) => [at, streams, delivered]);
  assert.deepEqual(seen, [
    [70, 1, 10],
    [75, 3, 0],
    [80, 13, 10 + 20],
    [85, 13, 0],
    [90, 13, 0],
    [97, 13, 0 + 10],
  ]);
});

test("after ten minutes one point is kept for each minute, the mean of all, and after an hour none", () => {
  const history = new History();
  for (let at = 0; at <= 7200; at += 2) history.addStatus(makeStatus(at, {}, { streams: at }));
  const { points } = history;
  const old = points.filter(({ at }) => at < 6600);
  assert.deepEqual([points.length - old.length, old.length], [301, 50]);
  assert.deepEqual([points[0].at, points[1].at], [3600, 3660]);
  assert.deepEqual([points[1].streams, points[1].count], [3660 + 29, 30]);
  assert.equal(JSON.stringify(points).length < 50_000, true);
});

/** A worker's rows of an hour before this time: each minute 60 deliveries, 6 published and 1 error more. */
function makeHour(now, first, sequenceOf) {
  const rows = Array.from({ length: 61 }, (_, index) => first + index * 60).filter((at) => at <= now);
  return rows.map((at, index) => [at, 10, 60 * index, 6 * index, index, sequenceOf(index)]);
}

test("the hour that the workers kept is shown, of all together and of each", () => {
  const now = 7200;
  const a = makeHour(now, 3600, (index) => (index === 30 ? null : 600 * index));
  const b = makeHour(now, 5400, () => null);
  const status = makeStatus(now, { a: [now, 3600], b: [now, 1800] }, { events: 36_000, streams: 20 });
  const counts = [
    [3600, 360, 60],
    [1800, 180, 30],
  ];
  status.workers.forEach((worker, index) => {
    const [delivered, published, errors] = counts[index];
    Object.assign(worker, { hour: [a, b][index], past: [], streams: 10, delivered, published, errors });
  });
  const history = new History();
  history.addStatus(status);
  const at = (points, time) => points.find((one) => one.at === time);
  const { streams, delivered, published, errors } = at(history.points, 6000);
  assert.deepEqual([streams, delivered, published, errors * 60], [20, 2, 10, 2]);
  assert.deepEqual([at(history.points, 4200).streams, at(history.points, 4200).delivered], [10, 1]);
  assert.equal(at(history.points, 5400).published, 10, "a sequence that is missing is bridged");
  const ofB = history.pointsOf("b");
  assert.deepEqual([ofB[0].at, ofB[0].delivered, ofB[0].published], [5400, 1, 0.1]);
  assert.equal(history.pointsOf("gone"), history.points);
});

test("errors are marked for ten minutes", () => {
  const history = new History();
  const seen = [];
  for (const [at, errors] of [
    [0, 3],
    [2, 3],
    [4, 5],
    [602, 5],
    [606, 5],
  ]) {
    const status = makeStatus(at, { a: [at, 0] });
    status.workers[0].errors = errors;
    history.addStatus(status);
    seen.push(history.hasErrors);
  }
  assert.deepEqual(seen, [false, false, true, true, false]);
});

test("a loop that was late is marked for ten minutes; one that was late before the page opened is not", () => {
  const history = new History();
  const seen = [];
  for (const [at, late] of [
    [0, 3],
    [2, 3],
    [4, 5],
    [602, 5],
    [606, 5],
  ]) {
    history.addStatus(makeStatus(at, {}, { late }));
    seen.push(history.hasBeenLate);
  }
  assert.deepEqual(seen, [false, false, true, true, false]);
});

test("another machine's clock may be behind", () => {
  const history = new History();
  for (const at of [100, 102, 104, 106, 101, 103]) history.addStatus(makeStatus(at, {}, { events: 8 }));
  assert.deepEqual(
    history.points.map((one) => one.at),
    [100, 101, 103],
  );
});
