// The status page's memory: how many streams there were, and how fast events were delivered and published.
//
// status/stream and status.json give counters; the rates are computed here. Nothing is drawn, and no clock is read.

const KEEP = 600; // seconds: the workers keep as much
const LEAST = 1; // seconds: a rate needs two counts at least so far apart
const LEAP = 500_000; // events a second: no store is as fast, so the sequence has leapt (docs/status.md)

export class History {
  /** {at, streams, delivered, published, late}, oldest first. `delivered` and `published` are rates, or undefined. */
  points = [];
  #workers = new Map(); // by name, of the last report: its time, what was delivered until then, and the rate
  #published; // of the broker: {at, sequence, epoch, rate}

  get last() {
    return this.points[this.points.length - 1];
  }

  /** Return the events that a worker delivers a second; undefined after its first report. */
  rateOf(name) {
    return this.#workers.get(name)?.rate;
  }

  /** Whether a worker's loop was late since the page was opened, within the last ten minutes. */
  get hasBeenLate() {
    return this.last.late > this.points.find(({ late }) => late !== undefined).late;
  }

  /** Add the status that has come. */
  addStatus(status) {
    if (!this.points.length) this.points = computeEarlierPoints(status);
    const measure = (one) => [one.name, measureWorker(this.#workers.get(one.name), one)];
    this.#workers = new Map(status.workers.map(measure));
    this.#published = measurePublished(this.#published, status);
    const rates = [...this.#workers.values()].map(({ rate }) => rate).filter((rate) => rate !== undefined);
    const delivered = rates.length ? rates.reduce((sum, rate) => sum + rate) : this.last?.delivered;
    // A status that comes a moment after another replaces it. Another machine's clock may be behind.
    while (this.points.length && status.at - this.last.at < LEAST) this.points.pop();
    const { streams, late } = status.totals;
    this.points.push({ at: status.at, streams, delivered, published: this.#published?.rate, late });
    while (this.points[0].at < status.at - KEEP) this.points.shift();
  }
}

/** Return points for the time before the page was opened. The workers kept them; each reported at times of its own. */
function computeEarlierPoints({ at, workers, report_seconds: every }) {
  const slots = new Map();
  for (const { past = [] } of workers) {
    past.slice(1).forEach(([until, , delivered], index) => {
      const [since, streams, had] = past[index];
      for (let slot = Math.ceil(since / every); slot < until / every; slot += 1) {
        const { streams: others, delivered: theirs } = slots.get(slot) ?? { streams: 0, delivered: 0 };
        slots.set(slot, {
          at: slot * every,
          streams: others + streams,
          delivered: theirs + (delivered - had) / (until - since),
        });
      }
    });
  }
  const known = [...slots.values()].filter((one) => one.at < at - every); // all workers have reported these
  return known.sort((one, other) => one.at - other.at);
}

/** Return how fast a worker delivers, from its last two reports. */
function measureWorker(before, { at, delivered, past = [] }) {
  const [earlier] = past.filter((one) => one[0] < at - LEAST).slice(-1); // the last one may be this report
  const start = before ?? (earlier && { at: earlier[0], delivered: earlier[2] });
  if (!start) return { at, delivered };
  if (at - start.at < LEAST) return start;
  return { at, delivered, rate: Math.max(0, delivered - start.delivered) / (at - start.at) };
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
