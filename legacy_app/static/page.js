/*
 * The jobs page, live: the list, the upload form, the notices.
 *
 * Data goes into the document as text only (textContent, attributes): names of
 * files are hostile input. The markup of a job is the template in the page
 * (templates/job.html); connections to the jobs are the business of the page's
 * client: jobsMux.js, or with ?client=old jobsApi.js, which knows no notices.
 */
(function () {
  "use strict";

  var STATES = {
    connecting: "connecting …",
    live: "live",
    waiting: "connection lost, trying again …",
    closed: "the server closed it: reload the page",
  };
  var TOAST_MILLISECONDS = 15000;

  var list = document.getElementById("jobs");
  var t = Texts.t;
  var template = document.getElementById("job-template");
  var toasts = document.getElementById("toasts");
  var api = new JobsApi({ cursor: list.dataset.cursor, user: list.dataset.user });

  /* -- the list ------------------------------------------------------------ */

  function find(id) {
    return list.querySelector('.job[data-id="' + Number(id) + '"]');
  }

  function idOf(card) {
    return Number(card.dataset.id);
  }

  /* A list that was read before a job came may arrive after it: newer jobs stay. */
  function showJobs(jobs) {
    var ids = jobs.map(function (job) {
      return job.id;
    });
    var newest = Math.max.apply(null, ids.concat(0));
    Array.from(list.children).forEach(function (card) {
      if (idOf(card) <= newest && ids.indexOf(idOf(card)) < 0) {
        card.remove();
      }
    });
    jobs.forEach(showJob);
  }

  function showJob(job) {
    var card = find(job.id) || addCard(job);
    if (Number(card.dataset.revision) <= job.revision) {
      fill(card, job);
    }
    while (list.children.length > Number(list.dataset.listed)) {
      list.lastElementChild.remove();
    }
    document.getElementById("no-jobs").hidden = list.children.length > 0;
  }

  /* Newest first. */
  function addCard(job) {
    var card = template.content.querySelector(".job").cloneNode(true);
    var older = Array.from(list.children).find(function (other) {
      return idOf(other) < job.id;
    });
    card.dataset.id = job.id;
    list.insertBefore(card, older || null);
    return card;
  }

  function fill(card, job) {
    var progress = card.querySelector(".job-progress");
    card.dataset.revision = job.revision;
    card.dataset.state = job.state;
    progress.max = job.lines;
    progress.value = job.done;
    progress.setAttribute("aria-label", t("Progress of {name}", { name: job.name }));
    write(card, ".job-name", job.name);
    write(card, ".job-state", t(job.state));
    write(card, ".job-result", job.message ? Texts.message(job.message) : progressOf(job));
    write(card, ".job-id", "#" + job.id);
    write(card, ".job-kind", t(job.kind));
    write(card, ".job-size", Texts.size(job.size));
    write(card, ".job-by", job.by ? t("by {name}", { name: job.by }) : t("by a visitor"));
    card.querySelector(".job-time").dateTime = job.created_at;
    fillNotes(card.querySelector(".job-notes"), job);
    localTime(card);
  }

  function progressOf(job) {
    return t("{done} of {lines} lines", { done: Texts.count(job.done), lines: Texts.count(job.lines) });
  }

  function fillNotes(notes, job) {
    var texts = job.notes.map(Texts.message);
    if (job.problems > texts.length) {
      texts.push(t("and {count} more", { count: Texts.count(job.problems - texts.length) }));
    }
    notes.hidden = texts.length === 0;
    notes.replaceChildren.apply(
      notes,
      texts.map(function (text) {
        return element("li", "", text);
      }),
    );
  }

  function localTime(card) {
    var time = card.querySelector(".job-time");
    time.textContent = Texts.time(new Date(time.dateTime));
  }

  /* -- the upload form ------------------------------------------------------- */

  function upload(event) {
    var form = event.target;
    var file = form.elements.file.files[0];
    event.preventDefault();
    if (file.size > Number(form.dataset.maxBytes)) {
      var values = { name: file.name, size: Texts.size(file.size) };
      return sayUploadError(t("“{name}” is {size}, more than this page takes.", values));
    }
    sayUploadError("");
    setSending(true);
    api.send(file, function (error, job) {
      setSending(false);
      if (error) {
        return sayUploadError(Texts.message(error));
      }
      form.reset();
      showJob(job);
    });
  }

  function sayUploadError(text) {
    document.getElementById("upload-error").textContent = text;
  }

  function setSending(sending) {
    var button = document.getElementById("send");
    button.disabled = sending;
    button.textContent = sending ? t("Sending …") : t("Send");
  }

  /* -- notices --------------------------------------------------------------- */

  /* For the old client only. */
  function listenForNotices(url) {
    var source = new EventSource(url);
    source.addEventListener("notice", function (event) {
      toast(JSON.parse(event.data));
    });
    return source;
  }

  function toast(notice) {
    var box = element("div", "toast", "");
    var close = element("button", "quiet", t("Dismiss"));
    var remove = function () {
      var hadFocus = box.contains(document.activeElement);
      box.remove();
      if (hadFocus) {
        (toasts.querySelector("button") || document.getElementById("jobs-title")).focus();
      }
    };
    /* One that is pointed at, or whose button has the focus, stays. */
    var expire = function () {
      if (box.matches(":hover, :focus-within")) {
        setTimeout(expire, TOAST_MILLISECONDS);
      } else {
        remove();
      }
    };
    box.dataset.state = notice.state;
    close.type = "button";
    close.addEventListener("click", remove);
    box.append(element("p", "toast-text", notice.name + ": " + Texts.message(notice.message)), close);
    toasts.append(box);
    setTimeout(expire, TOAST_MILLISECONDS);
  }

  /* -- small things ---------------------------------------------------------- */

  function element(name, className, text) {
    var made = document.createElement(name);
    made.className = className;
    made.textContent = text;
    return made;
  }

  function write(card, selector, text) {
    card.querySelector(selector).textContent = text;
  }

  function showState(state) {
    var connection = document.getElementById("connection");
    connection.dataset.state = state;
    connection.textContent = t(STATES[state]);
  }

  /* -- start ------------------------------------------------------------------- */

  /* A page that the browser keeps for its "back" button holds no connection. */
  function start() {
    var notices = toasts.dataset.url ? listenForNotices(toasts.dataset.url) : null;
    api.connect();
    window.addEventListener(
      "pagehide",
      function () {
        api.close();
        if (notices) {
          notices.close();
        }
      },
      { once: true },
    );
  }

  api.onState = showState;
  api.onJobs = showJobs;
  api.onJob = showJob;
  api.onNotice = toast;
  document.getElementById("upload").addEventListener("submit", upload);
  Array.from(list.children).forEach(localTime);
  window.addEventListener("pageshow", function (event) {
    if (event.persisted) {
      start();
    }
  });
  start();
})();
