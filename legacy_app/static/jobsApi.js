/*
 * JobsApi: the jobs of the server, for a page. An old-style connection manager.
 *
 * Keeps one EventSource on the stream of jobs, reports what it says and how it is, and
 * sends files. Knows the URLs, the events' names and JSON; never touches the document.
 *
 *   var api = new JobsApi();
 *   api.onState = function (state) {};  // "connecting", "live", "waiting"
 *   api.onJobs = function (jobs) {};    // the whole list, on each new connection
 *   api.onJob = function (job) {};      // one job that changed
 *   api.connect();
 */
(function () {
  "use strict";

  var STREAM_URL = "/api/jobs/stream";
  var JOBS_URL = "/api/jobs";
  var FIRST_WAIT = 2000;
  var LONGEST_WAIT = 30000;

  function ignore() {}

  function JobsApi() {
    this.onState = ignore;
    this.onJobs = ignore;
    this.onJob = ignore;
    this.source = null;
    this.timer = null;
    this.wait = FIRST_WAIT;
  }

  JobsApi.prototype.connect = function () {
    var self = this;
    this.close();
    this.onState("connecting");
    this.source = new EventSource(STREAM_URL);
    this.source.onopen = function () {
      self.wait = FIRST_WAIT;
      self.onState("live");
    };
    this.source.onerror = function () {
      self.lost();
    };
    this.source.addEventListener("jobs", function (event) {
      self.onJobs(JSON.parse(event.data));
    });
    this.source.addEventListener("job", function (event) {
      self.onJob(JSON.parse(event.data));
    });
  };

  /* The browser reconnects by itself after a cut, but never after an error's answer. */
  JobsApi.prototype.lost = function () {
    this.onState("waiting");
    if (this.source.readyState === EventSource.CLOSED) {
      this.timer = setTimeout(this.connect.bind(this), this.wait);
      this.wait = Math.min(this.wait * 2, LONGEST_WAIT);
    }
  };

  JobsApi.prototype.close = function () {
    clearTimeout(this.timer);
    if (this.source) {
      this.source.close();
      this.source = null;
    }
  };

  /* Sends a file; calls done(error message or null, job). */
  JobsApi.prototype.send = function (file, done) {
    var form = new FormData();
    form.append("file", file);
    fetch(JOBS_URL, { method: "POST", body: form })
      .then(readAnswer)
      .then(
        function (job) {
          done(null, job);
        },
        function (error) {
          done(error.message, null);
        },
      );
  };

  function readAnswer(response) {
    return response.json().then(
      function (answer) {
        if (!response.ok) {
          throw new Error(answer.error);
        }
        return answer;
      },
      function () {
        throw new Error("The server answered " + response.status + " without saying why.");
      },
    );
  }

  window.JobsApi = JobsApi;
})();
