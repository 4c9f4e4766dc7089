// Opens a page in Chromium and prints what happens in it, one JSON object per line, as it happens.
//
//   node watch.js '{"chromium": "/usr/bin/chromium", "url": "http://…", "seconds": 10, "screenshot": "x.png"}'
//
// Lines: what the page passes to window.report, {who: "console", what: <type>, text, at}, and for {who: "page"}: what is
// "loaded", "error" (with text), "request" and "response" (its headers came; with url and status). It ends after `seconds`, or when its standard input closes.
"use strict";

const { print, runChromium, waitForStop } = require("./script.js");

runChromium(async (options, browser) => {
  const stop = waitForStop(options.seconds);
  const page = await browser.newPage();
  page.on("console", (message) => print({ who: "console", what: message.type(), text: message.text() }));
  page.on("pageerror", (error) => print({ who: "page", what: "error", text: String(error) }));
  page.on("request", (request) => print({ who: "page", what: "request", url: request.url() }));
  page.on("response", (response) =>
    print({ who: "page", what: "response", url: response.url(), status: response.status() }),
  );
  await page.exposeFunction("report", print);
  await page.goto(options.url, { waitUntil: "domcontentloaded", timeout: 10000 });
  print({ who: "page", what: "loaded" });
  await stop;
  if (options.screenshot) await page.screenshot({ path: options.screenshot, timeout: 10000 });
});
