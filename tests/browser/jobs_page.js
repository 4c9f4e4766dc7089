// Uses the example's jobs page in Chromium as a person would, and prints what happens, one JSON object per line.
//
//   node jobs_page.js '{"chromium": "/usr/bin/chromium", "url": "http://…", "seconds": 30, "name": "ada", "client": "new",
//                       "file": "/…/numbers.csv", "screenshots": {"running": "a.png", "done": "b.png"}}'
//
// Two browsers with cookies of their own: `user` logs in and sends the file through the form, `visitor` only looks.
// Lines: {who: user or visitor, what: "live" (the page says so), "job" (a card was drawn: name, state, value and max of its
// progress bar), "toast" (text), "stream" (a request for one: url, after the login)}; {who, what: "error", text} for console errors and exceptions. It ends by itself.
"use strict";

const { print, runChromium } = require("./script.js");

async function open(browser, who, url) {
  const context = await browser.newContext({ viewport: { width: 900, height: 700 } });
  const page = await context.newPage();
  page.on("console", (message) => message.type() === "error" && print({ who, what: "error", text: message.text() }));
  page.on("pageerror", (error) => print({ who, what: "error", text: String(error) }));
  await page.exposeFunction("report", (entry) => print({ who, ...entry }));
  await page.goto(url, { waitUntil: "load" });
  return page;
}

async function logIn(page, name) {
  await page.click("text=Log in");
  await page.fill("#name", name);
  await page.fill("#password", name);
  await page.click("main button");
  await page.waitForSelector(`.account strong:text-is("${name}")`);
}

// Runs in the page: reports each change of a progress bar, and each toast.
function watch() {
  const card = (bar) => {
    const job = bar.closest(".job");
    const name = job.querySelector(".job-name").textContent;
    window.report({ what: "job", name, state: job.dataset.state, value: bar.value, max: bar.max });
  };
  const toasts = (nodes) => nodes.forEach((node) => window.report({ what: "toast", text: node.textContent }));
  new MutationObserver((changes) => changes.forEach((change) => card(change.target))).observe(
    document.getElementById("jobs"),
    { subtree: true, attributeFilter: ["value"] },
  );
  new MutationObserver((changes) => changes.forEach((change) => toasts(change.addedNodes))).observe(
    document.getElementById("toasts"),
    { childList: true },
  );
}

/* Select this client, and report the streams that the page then opens. The present page has opened its own by then. */
async function visit(page, who, options) {
  await page.waitForSelector('#connection[data-state="live"]');
  page.on("request", (request) => {
    if (/\/events(\?|$)|\/stream/.test(request.url())) print({ who, what: "stream", url: request.url() });
  });
  await page.goto(`${options.url}/?client=${options.client}`, { waitUntil: "load" });
}

async function live(page, who) {
  await page.waitForSelector('#connection[data-state="live"]');
  print({ who, what: "live" });
  await page.evaluate(watch);
}

runChromium(async (options, browser) => {
  setTimeout(() => {
    console.error("not done in time");
    browser.close();
  }, options.seconds * 1000).unref();
  const [user, visitor] = [await open(browser, "user", options.url), await open(browser, "visitor", options.url)];
  await logIn(user, options.name);
  await Promise.all([visit(user, "user", options), visit(visitor, "visitor", options)]);
  await Promise.all([live(user, "user"), live(visitor, "visitor")]);
  await user.setInputFiles("#file", options.file);
  await user.click("#send");
  await visitor.waitForSelector('.job[data-state="running"] progress:not([value="0"])');
  await visitor.screenshot({ path: options.screenshots.running });
  await Promise.all([user, visitor].map((page) => page.waitForSelector('.job[data-state="done"]')));
  await user.waitForSelector(".toast");
  await user.screenshot({ path: options.screenshots.done });
});
