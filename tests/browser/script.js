// What the scripts here that drive a browser share: Chromium, what is printed, the end. No pages, no commands.
"use strict";

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Prints a line, one JSON object; `at` is now, in seconds since 1970, where the entry does not say. */
const print = (entry) => process.stdout.write(JSON.stringify({ at: Date.now() / 1000, ...entry }) + "\n");

/** What playwright-core passes by default, and a browser of real people does not have. */
const UNREAL = ["--disable-back-forward-cache"];

function launch(executablePath) {
  const { chromium } = require("playwright-core");
  const options = { args: FLAGS, ignoreDefaultArgs: UNREAL, headless: true, timeout: 20000 };
  return chromium.launch({ executablePath, ...options });
}

/** Does the work with the wish of the command line, and ends the process. */
function run(work) {
  work(JSON.parse(process.argv[2])).then(
    () => process.exit(0),
    (error) => {
      console.error(error);
      process.exit(1);
    },
  );
}

/** Does the work with the wish and a Chromium, which is closed after it. */
function runChromium(work) {
  run(async (wish) => {
    const browser = await launch(wish.chromium);
    try {
      await work(wish, browser);
    } finally {
      await browser.close();
    }
  });
}

/** When its time is over, or its standard input closes. */
function toldToStop(seconds) {
  return new Promise((resolve) => {
    setTimeout(resolve, seconds * 1000);
    process.stdin.on("end", resolve).resume();
  });
}

module.exports = { launch, print, run, runChromium, toldToStop };
