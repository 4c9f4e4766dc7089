/*
 * The check of the visitor's file, which is a run: it goes on without the page, and the page finds it again.
 *
 * Where the run is read is kept in the browser, so a page that was reloaded, or another tab, reads it from its beginning.
 */
import { Run } from "/events/ssemux.js";

const { t, count, message } = Texts;
const KEPT = "row-check-run";
const WORDS = {
  done: (job) => `${job.name}: ${message(job.message)}.`,
  failed: () => t("The check failed."),
  cancelled: () => t("The check was cancelled."),
  lost: () => t("The check was lost: its worker was killed."),
  closed: () => t("The check can no longer be read."),
};

export class Check {
  #run;
  #job;
  #steps = 0;
  #twice = 0;
  #back = 0; // how often the page came back to the run after a connection was lost

  constructor(element) {
    this.element = element;
    element.querySelector("button").addEventListener("click", () => this.cancel());
    const url = localStorage.getItem(KEPT);
    if (url) this.follow(url);
  }

  /** Read the run at this URL, from its beginning. */
  follow(url) {
    this.#run?.close();
    localStorage.setItem(KEPT, url);
    [this.#job, this.#steps, this.#twice, this.#back] = [undefined, 0, 0, 0];
    const run = (this.#run = new Run(url));
    run.on("job", ({ json }) => this.#note(json));
    run.on("ssemux.connecting", () => (this.#back += 1));
    run.on("ssemux.error", ({ final }) => final && localStorage.removeItem(KEPT));
    for (const state of Object.keys(WORDS)) run.on(`ssemux.${state}`, () => run === this.#run && this.#end(state));
    this.#draw("running", t("The check begins."));
  }

  async cancel() {
    await fetch(`/api/runs/${this.#run.id}`, { method: "DELETE" });
  }

  close() {
    this.#run?.close();
  }

  #note(job) {
    if (this.#job && job.revision <= this.#job.revision) this.#twice += 1;
    this.#steps += 1;
    this.#job = job;
    const values = { name: job.name, done: count(job.done), lines: count(job.lines) };
    this.#draw("running", t("{name}: {done} of {lines} lines are checked.", values));
  }

  #end(state) {
    const failed = this.#job?.state === "failed" && state === "done"; // the check ran to its end, and found out that
    this.#draw(failed ? "failed" : state, failed ? WORDS.done(this.#job) : WORDS[state](this.#job));
  }

  #draw(state, words) {
    const { element } = this;
    element.dataset.state = state;
    element.dataset.steps = this.#steps;
    element.querySelector("progress").value = this.#job ? this.#job.done / this.#job.lines : 0;
    element.querySelector(".check-told").textContent = words;
    const values = { steps: count(this.#steps), twice: count(this.#twice), back: count(this.#back) };
    element.querySelector(".check-figures").textContent = this.#twice
      ? t("{steps} steps, {twice} twice, came back {back}×", values)
      : t("{steps} steps, none twice, came back {back}×", values);
    element.querySelector("button").hidden = state !== "running";
  }
}
