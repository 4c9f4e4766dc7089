/*
 * The check of the visitor's file, which is a run: it goes on without the page, and the page finds it again.
 *
 * Where the run is read is kept in the browser, so a page that was reloaded, or another tab, reads it from its beginning.
 */
import { Run } from "/events/ssemux.js";

const KEPT = "row-check-run";
const WORDS = {
  done: (job) => `${job.name}: ${job.message}.`,
  failed: () => "The check failed.",
  cancelled: () => "The check was cancelled.",
  lost: () => "The check was lost: its worker was killed.",
  closed: () => "The check can no longer be read.",
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
    this.#draw("running", "The check begins.");
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
    this.#draw("running", `${job.name}: ${job.done} of ${job.lines} lines are checked.`);
  }

  #end(state) {
    const failed = this.#job?.state === "failed" && state === "done"; // the check ran to its end, and found out that
    this.#draw(
      failed ? "failed" : state,
      failed ? `${this.#job.name}: ${this.#job.message}.` : WORDS[state](this.#job),
    );
  }

  #draw(state, words) {
    const { element } = this;
    element.dataset.state = state;
    element.dataset.steps = this.#steps;
    element.querySelector("progress").value = this.#job ? this.#job.done / this.#job.lines : 0;
    element.querySelector(".check-told").textContent = words;
    const again = this.#twice ? `${this.#twice} twice` : "none twice";
    element.querySelector(".check-figures").textContent = `${this.#steps} steps, ${again}, came back ${this.#back}×`;
    element.querySelector("button").hidden = state !== "running";
  }
}
