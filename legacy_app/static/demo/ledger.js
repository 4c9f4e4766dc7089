/*
 * Which changes of jobs a stream told, against all that happened: none lost, none twice.
 *
 * A change is a job's id and its revision, which grows by one with each. What happened is what the page's own client
 * heard, which nobody cuts. No connection, no clock, no document.
 */

const keyOf = (job) => `${job.id}:${job.revision}`;

/** All that happened since the page was opened. */
export class Happened {
  #changes = new Map();

  note(job) {
    this.#changes.set(keyOf(job), job);
  }

  /** Those that this stream should have told, had it begun with that list. */
  since(revisions) {
    return [...this.#changes.values()].filter((job) => job.revision > (revisions.get(job.id) ?? 0));
  }
}

/** What one stream told. */
export class Ledger {
  #told = new Set();
  #newest = new Map(); // by job: the newest revision that was told
  #began; // revisions in its first list
  twice = 0;

  /** `isPolled`: the stream looks once a second, and tells only what it sees then. */
  constructor(happened, isPolled) {
    Object.assign(this, { happened, isPolled });
  }

  /** The whole list: what a job came to is told, the changes on the way there are not. */
  list(jobs) {
    this.#began ??= new Map(jobs.map((job) => [job.id, job.revision]));
    for (const job of jobs) this.#note(job);
  }

  change(job) {
    if (this.#told.has(keyOf(job))) this.twice += 1;
    this.#note(job);
  }

  #note(job) {
    this.#told.add(keyOf(job));
    this.#newest.set(job.id, Math.max(job.revision, this.#newest.get(job.id) ?? 0));
  }

  /** The changes that it should have told. */
  get due() {
    return this.happened.since(this.#began ?? new Map());
  }

  /** Those of them that it did not. */
  get missing() {
    return this.due.filter((job) => !this.#told.has(keyOf(job)));
  }

  /** Those of these changes that are lost: neither told nor, if the stream polls, outdated by a newer one that was. */
  lacks(jobs) {
    const isOutdated = (job) => this.isPolled && this.#newest.get(job.id) > job.revision;
    return jobs.filter((job) => !this.#told.has(keyOf(job)) && !isOutdated(job));
  }
}
