// Opens a page in Chromium and prints what happens in it, one JSON object a line, as it happens.
//
//   node watch.js '{"chromium": "/usr/bin/chromium", "url": "http://…", "seconds": 10, "screenshot": "x.png"}'
//
// Lines: what the page gives to window.report, {who: "console", what: <type>, text, at}, and of {who: "page"} what is
// "loaded", "error" (with text), "request" and "response" (its headers came; with url and status). It ends after `seconds`, or when its standard input closes.
"use strict";

const { chromium } = require("playwright-core");

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const now = () => Date.now() / 1000;
const print = (entry) => process.stdout.write(JSON.stringify(entry) + "\n");

function toldToStop(seconds) {
  return new Promise((resolve) => {
    setTimeout(resolve, seconds * 1000);
    process.stdin.on("end", resolve).resume();
  });
}

async function main() {
  const wish = JSON.parse(process.argv[2]);
  const stop = toldToStop(wish.seconds);
  const browser = await chromium.launch({ executablePath: wish.chromium, headless: true, args: FLAGS, timeout: 20000 });
  try {
    const page = await browser.newPage();
    page.on("console", (message) => print({ who: "console", what: message.type(), text: message.text(), at: now() }));
    page.on("pageerror", (error) => print({ who: "page", what: "error", text: String(error), at: now() }));
    page.on("request", (request) => print({ who: "page", what: "request", url: request.url(), at: now() }));
    page.on("response", (response) =>
      print({ who: "page", what: "response", url: response.url(), status: response.status(), at: now() }),
    );
    await page.exposeFunction("report", print);
    await page.goto(wish.url, { waitUntil: "domcontentloaded", timeout: 10000 });
    print({ who: "page", what: "loaded", at: now() });
    await stop;
    if (wish.screenshot) await page.screenshot({ path: wish.screenshot, timeout: 10000 });
  } finally {
    await browser.close();
  }
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
