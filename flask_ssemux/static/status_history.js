// What the status page remembers: how many streams there were, and how fast events were delivered and published.
//
// From what status/stream and status.json tell, whose counters only grow; rates are theirs to make who look. Nothing is
// drawn here, and no clock is read.

const KEEP = 600; // seconds: as much as the workers keep
const LEAST = 1; // seconds between two counts that a rate is made of: of less it would be noise

export class History {
  /** {at, streams, delivered, published, late}, oldest first; the rates a second. Undefined: nobody knows. */
  points = [];
  #workers = new Map(); // by name: when its last report was made, what it had delivered, how fast it delivers
  #published; // the broker's count: {at, number, epoch, rate}

  get last() {
    return this.points[this.points.length - 1];
  }

  /** Events that a worker delivers a second; undefined if nobody knows yet. */
  rateOf(name) {
    return this.#workers.get(name)?.rate;
  }

  /** Whether a heart was late since the page was opened, or in the last ten minutes. */
  get hasBeenLate() {
    return this.last.late > this.points.find(({ late }) => late !== undefined).late;
  }

  /** Remember what is told. */
  take(told) {
    if (!this.points.length) this.points = recalled(told);
    this.#workers = new Map(told.workers.map((one) => [one.name, paced(this.#workers.get(one.name), one)]));
    this.#published = publishing(this.#published, told);
    const rates = [...this.#workers.values()].map(({ rate }) => rate).filter((rate) => rate !== undefined);
    const delivered = rates.length ? rates.reduce((sum, rate) => sum + rate) : this.last?.delivered;
    // What is told within a moment is one point; and the next machine's clock may be behind.
    while (this.points.length && told.at - this.last.at < LEAST) this.points.pop();
    const { streams, late } = told.totals;
    this.points.push({ at: told.at, streams, delivered, published: this.#published?.rate, late });
    while (this.points[0].at < told.at - KEEP) this.points.shift();
  }
}

/** What the workers kept before the page was opened, together. They report at times of their own. */
function recalled({ at, workers, report_seconds: every }) {
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
  const known = [...slots.values()].filter((one) => one.at < at - every); // of which all have told
  return known.sort((one, other) => one.at - other.at);
}

/** How fast a worker delivers, from its last two reports. */
function paced(before, { at, delivered, past = [] }) {
  const [earlier] = past.filter((one) => one[0] < at - LEAST).slice(-1); // the last of them may be this very report
  const start = before ?? (earlier && { at: earlier[0], delivered: earlier[2] });
  if (!start) return { at, delivered };
  if (at - start.at < LEAST) return start;
  return { at, delivered, rate: Math.max(0, delivered - start.delivered) / (at - start.at) };
}

/** How fast is published, by whomever: places of the broker's order a second. */
function publishing(before, { at, broker, totals }) {
  if (totals.events === null) return undefined;
  const epoch = broker.cursor.split("-")[0];
  const now = { at, number: totals.events, epoch };
  if (before?.epoch !== epoch || at < before.at) return now;
  if (at - before.at < LEAST) return before;
  return { ...now, rate: (now.number - before.number) / (at - before.at) };
}
