/*
 * JobsApi once more: what jobsApi.js gives a page, made with ssemux.js. Step 3 of the migration.
 *
 * Jobs and the user's notices come over one connection, which all tabs of the browser share. It begins at the cursor
 * that the page was rendered at, so the list need not come again. Never touches the document.
 *
 *   const api = new JobsApi({ cursor, user });
 *   api.onState, api.onJobs, api.onJob;  // as in jobsApi.js; and the state "closed": the server refused for good
 *   api.onNotice = (notice) => {};       // a job of the user's has ended
 *   api.connect();
 */
import { SSEMux } from "/events/ssemux.js";

const JOBS_URL = "/api/jobs";
const ignore = () => {};

export class JobsApi {
  onState = ignore;
  onJobs = ignore;
  onJob = ignore;
  onNotice = ignore;

  /** `cursor`: where the page was rendered; `user`: whose tab it is. */
  constructor({ cursor, user } = {}) {
    this.cursor = cursor;
    this.user = user;
  }

  connect() {
    this.close();
    this.onState("connecting");
    this.mux = new SSEMux("/events", { lastEventId: this.cursor || undefined, user: this.user });
    this.cursor = undefined; // a page that comes back begins with the list
    this.mux
      .on("ssemux.open", () => this.onState("live"))
      .on("ssemux.connecting", () => this.onState("waiting"))
      .on("ssemux.stale", () => this.onState("waiting"))
      .on("ssemux.error", ({ final }) => final && this.onState("closed"))
      .on("notice", ({ json }) => this.onNotice(json));
    this.mux
      .channel("jobs")
      .on("jobs", ({ json }) => this.onJobs(json))
      .on("job", ({ json }) => this.onJob(json));
  }

  close() {
    this.mux?.close();
  }

  /** Sends a file; calls done(error message or null, job). */
  async send(file, done) {
    const body = new FormData();
    body.append("file", file);
    const sent = fetch(JOBS_URL, { method: "POST", body }).then(read);
    done(
      ...(await sent.then(
        (job) => [null, job],
        (error) => [error.message, null],
      )),
    );
  }
}

async function read(response) {
  const answer = await response.json().catch(() => {
    throw new Error(`The server answered ${response.status} without saying why.`);
  });
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

window.JobsApi = JobsApi;
