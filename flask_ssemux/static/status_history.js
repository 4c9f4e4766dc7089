// The status page's memory: how many streams there were, and how fast events were delivered and published, for an hour.
//
// status/stream and status.json give counters; the rates are computed here. Nothing is drawn, and no clock is read.

const KEEP = 3600; // seconds: the workers keep as much
const FINE = 600; // seconds: of older points one is kept for each minute, the mean of all
const MINUTE = 60; // seconds
const LEAST = 1; // seconds: a rate needs two counts at least so far apart
const LEAP = 500_000; // events a second: no store is as fast, so the sequence has leapt (docs/status.md)
const COUNTERS = ["delivered", "published", "errors"];

// A point is {at, streams, delivered, published, errors}; all but `at` and `streams` are rates, or undefined. Points are
// kept oldest first.

/** Add a point. One that comes a moment after another replaces it. Another machine's clock may be behind. */
function addPoint(points, point) {
  while (points.length && point.at - points[points.length - 1].at < LEAST) points.pop();
  points.push(point);
  while (points[0].at < point.at - KEEP) points.shift();
  const end = points.findIndex(({ at }) => at >= point.at - FINE);
  for (let index = end - 1; index > 0 && minuteOf(points[index]) === minuteOf(points[index - 1]); index -= 1) {
    points.splice(index - 1, 2, unite(points[index - 1], points[index]));
  }
}

const minuteOf = ({ at }) => Math.floor(at / MINUTE);

function unite(one, other) {
  const count = one.count ?? 1;
  const mean = (name) =>
    one[name] === undefined ? other[name] : (one[name] * count + (other[name] ?? one[name])) / (count + 1);
  const means = Object.fromEntries(["streams", ...COUNTERS].map((name) => [name, mean(name)]));
  return { ...other, ...means, at: one.at, count: count + 1 };
}

export class History {
  points = []; // of all workers together; each has `late`, too
  #workers = new Map(); // by name: the last report, and the worker's points
  #published; // of the broker: {at, sequence, epoch, rate}

  get last() {
    return this.points[this.points.length - 1];
  }

  /** Return the events that a worker delivers a second; undefined after its first report. */
  rateOf(name) {
    return this.#workers.get(name)?.measured.delivered;
  }

  /** Return the points of a worker; those of all together if there is no such worker. */
  pointsOf(name) {
    return this.#workers.get(name)?.points ?? this.points;
  }

  /** Whether a worker's loop was late since the page was opened, within the last ten minutes. */
  get hasBeenLate() {
    const { at, late } = this.last;
    return late > this.points.find((one) => one.late !== undefined && one.at >= at - FINE).late;
  }

  /** Whether there was an error within the last ten minutes. */
  get hasErrors() {
    return this.points.some(({ at, errors }) => errors > 0 && at >= this.last.at - FINE);
  }

  /** Add the status that has come. */
  addStatus(status) {
    if (!this.points.length) this.points.push(...computeEarlierPoints(status.workers, status));
    this.#workers = new Map(status.workers.map((one) => [one.name, this.#addReport(one, status)]));
    this.#published = measurePublished(this.#published, status);
    const measured = [...this.#workers.values()].map((worker) => worker.measured);
    const sum = (name) => {
      const rates = measured.map((one) => one[name]).filter((rate) => rate !== undefined);
      return rates.length ? rates.reduce((total, rate) => total + rate) : this.last?.[name];
    };
    const { streams, late } = status.totals;
    const { at } = status;
    addPoint(this.points, {
      at,
      streams,
      delivered: sum("delivered"),
      published: this.#published?.rate,
      errors: sum("errors"),
      late,
    });
  }

  #addReport(report, status) {
    const before = this.#workers.get(report.name);
    const points = before?.points ?? [];
    if (!before) points.push(...computeEarlierPoints([report], status, false));
    const measured = measureWorker(before?.measured, report);
    const { delivered, published, errors } = measured;
    addPoint(points, { at: status.at, streams: report.streams ?? 0, delivered, published, errors });
    return { measured, points };
  }
}

// -- before the page was opened -----------------------------------------------------

/**
 * Return points for the time before the page was opened. The workers kept them: `hour` has a row for each minute, `past`
 * one for each report of the last ten minutes. Each worker reported at times of its own.
 * @param areAll whether these are all workers. Then the broker's sequences say what was published.
 */
function computeEarlierPoints(workers, { at, report_seconds: every }, areAll = true) {
  const border = Math.ceil((at - FINE + MINUTE / 2) / MINUTE) * MINUTE;
  const coarse = sumSlots(
    workers.map(({ hour = [] }) => hour),
    MINUTE,
  ).filter((one) => one.at < border);
  const fine = sumSlots(
    workers.map(({ past = [] }) => past),
    every,
  ).filter((one) => one.at >= border || !coarse.length);
  const known = [...coarse, ...fine].filter((one) => one.at < at - every); // all workers have reported these
  return areAll ? withSequences(known, workers) : known;
}

/** Return points at multiples of so many seconds: the sums of all workers, each between two rows of its own. */
function sumSlots(rowsOfWorkers, every) {
  const slots = new Map();
  for (const rows of rowsOfWorkers) {
    rows.slice(1).forEach((row, index) => {
      const [until, , ...counts] = row;
      const [since, streams, ...had] = rows[index];
      const seconds = until - since;
      for (let slot = Math.ceil(since / every); slot < until / every; slot += 1) {
        const sum = slots.get(slot) ?? { at: slot * every, streams: 0, delivered: 0, published: 0, errors: 0 };
        sum.streams += streams;
        COUNTERS.forEach((name, number) => {
          sum[name] += Math.max(0, (counts[number] ?? 0) - (had[number] ?? 0)) / seconds;
        });
        slots.set(slot, sum);
      }
    });
  }
  return [...slots.values()].sort((one, other) => one.at - other.at);
}

/** Return the points with what all processes published, which the broker's sequence tells, once a minute. */
function withSequences(points, workers) {
  const lists = workers.map(({ hour = [] }) => hour.filter((row) => Number.isInteger(row[5])));
  const [rows = []] = lists.sort((one, other) => other.length - one.length);
  const rateAt = (at) => {
    const index = rows.findIndex(([time]) => time > at);
    if (index < 1) return undefined;
    const [since, until] = [rows[index - 1], rows[index]];
    const rate = (until[5] - since[5]) / (until[0] - since[0]);
    return rate >= 0 && rate < LEAP ? rate : undefined;
  };
  return points.map((one) => ({ ...one, published: rateAt(one.at) }));
}

// -- from one status to the next ------------------------------------------------------

/** Return how fast a worker's counters grow, from its last two reports. */
function measureWorker(before, { at, past = [], ...report }) {
  const counts = COUNTERS.map((name) => report[name] ?? 0);
  const [earlier] = past.filter((one) => one[0] < at - LEAST).slice(-1); // the last one may be this report
  const start = before ?? (earlier && { at: earlier[0], counts: earlier.slice(2) });
  if (!start) return { at, counts };
  if (at - start.at < LEAST) return start;
  const rates = counts.map((value, index) => Math.max(0, value - (start.counts[index] ?? value)) / (at - start.at));
  return { at, counts, ...Object.fromEntries(COUNTERS.map((name, index) => [name, rates[index]])) };
}

/** Return how fast all processes together publish, from the newest sequence of the broker. */
function measurePublished(before, { at, broker, totals }) {
  if (totals.events === null) return undefined;
  const epoch = broker.cursor.split("-")[0];
  const now = { at, sequence: totals.events, epoch };
  if (before?.epoch !== epoch || at < before.at) return now;
  if (at - before.at < LEAST) return before;
  const rate = (now.sequence - before.sequence) / (at - before.at);
  return rate < LEAP ? { ...now, rate } : now;
}
