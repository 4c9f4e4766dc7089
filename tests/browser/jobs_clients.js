// The example's jobs page with each of its clients, in Chromium. Prints what happens, one JSON object per line.
//
//   node jobs_clients.js '{"chromium": "/usr/bin/chromium", "url": "http://…", "seconds": 30, "timeout": 3000,
//                          "polyfill": "/…/eventsource.js", "clients": ["polyfill", "native", "new"]}'
//
// Each client has a browser context: `polyfill` and `native` run jobsApi.js, on event-source-polyfill (which gives up after
// `timeout` ms) and on the browser's EventSource; `new` runs jobsMux.js. Lines, with who: {what: "live", "waiting", …} (what
// the page says about its connection), {what: "job", id, state, revision} (from the client), {what: "stream", url} (a request
// for one), {what: "error", text}. It ends after `seconds`, or when its standard input closes.
"use strict";

/* global EventSourcePolyfill -- a script of the page */
const fs = require("fs");
const { print, runChromium, waitForStop } = require("./script.js");

// Runs in the page, before its scripts: replaces the browser's EventSource by the polyfill, as old pages do.
function replace(timeout) {
  window.EventSource = class extends EventSourcePolyfill {
    constructor(url) {
      super(url, { heartbeatTimeout: timeout });
    }
  };
}

// Runs in the page, before its scripts: reports what its client passes to it.
function listen() {
  let made;
  const tell = (api, name, report) => {
    let set = () => {};
    Object.defineProperty(api, name, {
      get: () => (it) => {
        report(it);
        set(it);
      },
      set: (listener) => {
        set = listener;
      },
    });
  };
  Object.defineProperty(window, "JobsApi", {
    set: (client) => {
      made = client;
    },
    get: () =>
      function (options) {
        const api = new made(options);
        tell(api, "onState", (state) => window.report({ what: state }));
        tell(api, "onJob", ({ id, state, revision }) => window.report({ what: "job", id, state, revision }));
        return api;
      },
  });
}

async function open(browser, who, options) {
  const page = await (await browser.newContext()).newPage();
  page.on("console", (message) => message.type() === "error" && print({ who, what: "error", text: message.text() }));
  page.on("pageerror", (error) => print({ who, what: "error", text: String(error) }));
  page.on("request", (request) => {
    if (/\/events\?|\/stream/.test(request.url())) print({ who, what: "stream", url: request.url() });
  });
  await page.exposeFunction("report", (entry) => print({ who, ...entry }));
  if (who === "polyfill") {
    await page.addInitScript(fs.readFileSync(options.polyfill, "utf8"));
    await page.addInitScript(replace, options.timeout);
  }
  await page.addInitScript(listen);
  await page.goto(`${options.url}/?client=${who === "new" ? "new" : "old"}`, { waitUntil: "load" });
}

runChromium(async (options, browser) => {
  const stop = waitForStop(options.seconds);
  await Promise.all(options.clients.map((who) => open(browser, who, options)));
  await stop;
});
