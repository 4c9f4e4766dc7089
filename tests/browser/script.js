// What the scripts in this folder share: Chromium, printing, the end. It contains no pages and no commands.
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

/** Print one JSON object as a line; `at` is now, in seconds since 1970, unless the entry has it. */
const print = (entry) => process.stdout.write(JSON.stringify({ at: Date.now() / 1000, ...entry }) + "\n");

/** What playwright-core passes by default, although real users' browsers do not. */
const UNREAL = ["--disable-back-forward-cache"];

function launch(executablePath) {
  const { chromium } = require("playwright-core");
  const options = { args: FLAGS, ignoreDefaultArgs: UNREAL, headless: true, timeout: 20000 };
  return chromium.launch({ executablePath, ...options });
}

/** Do the work with the options of the command line, and end the process. */
function run(work) {
  work(JSON.parse(process.argv[2])).then(
    () => process.exit(0),
    (error) => {
      console.error(error);
      process.exit(1);
    },
  );
}

/** Do the work with the options and a Chromium, which is closed afterwards. */
function runChromium(work) {
  run(async (options) => {
    const browser = await launch(options.chromium);
    try {
      await work(options, browser);
    } finally {
      await browser.close();
    }
  });
}

/** Resolve when the time is over, or when standard input closes. */
function waitForStop(seconds) {
  return new Promise((resolve) => {
    setTimeout(resolve, seconds * 1000);
    process.stdin.on("end", resolve).resume();
  });
}

module.exports = { launch, print, run, runChromium, waitForStop };
