// Tabs of one browser on the page of tests/apps/tabs.py. Prints what they report, one JSON object per line.
//
//   node tabs.js '{"browser": "chromium", "program": "/usr/bin/chromium", "url": "http://…", "seconds": 30}'
//
// Chromium is driven by its own protocol (playwright-core), Firefox by WebDriver BiDi (puppeteer-core); `settings` are
// Firefox's, as in about:config.
//
// Commands come on standard input, one JSON object per line, and are done one after the other: {"do": "open", "name": "a",
// "path": "/tab" (or a whole URL), "query": {…}}, {"do": "close", "name": "a"}, {"do": "reload", "name": "a"}, {"do": "run", "name": "a", "code": "…"}; in Chromium also
// {"do": "block", "name": "a", "seconds": 3} (its main thread), {"do": "crash", "name": "a"}, {"do": "freeze", "name": "a"}, {"do": "thaw", "name": "a"}, {"do": "offline", "yes": true}.
// Each is answered by {who: "driver", what: "done", number}. It ends after `seconds`, or when its standard input closes.
"use strict";

const readline = require("readline");
const { launch, print, run } = require("./script.js");

/** The commands of a browser: a new page, its end, and what only this browser can do. */
const engines = {
  async chromium(executablePath) {
    const browser = await launch(executablePath);
    const context = await browser.newContext({ ignoreHTTPSErrors: true }); // certificates of tests
    await context.exposeFunction("report", print);
    const lifecycle = async (page, state) => {
      const session = await context.newCDPSession(page);
      await session.send("Page.setWebLifecycleState", { state });
    };
    return {
      newPage: () => context.newPage(),
      close: () => browser.close(),
      // until it has crashed the page may take events that it does not report any more
      async crash(page) {
        const crashed = page.waitForEvent("crash");
        page.goto("chrome://crash").catch(() => {});
        await crashed;
      },
      freeze: (page) => lifecycle(page, "frozen"),
      thaw: (page) => lifecycle(page, "active"),
      offline: (yes) => context.setOffline(yes),
    };
  },

  async firefox(executablePath, extraPrefsFirefox) {
    const puppeteer = require("puppeteer-core");
    const options = { browser: "firefox", executablePath, extraPrefsFirefox, headless: true, timeout: 20000 };
    const browser = await puppeteer.launch(options);
    return {
      async newPage() {
        const page = await browser.newPage();
        await page.exposeFunction("report", print);
        return page;
      },
      close: () => browser.close(),
    };
  },
};

/** Run code in a page after this command was answered. */
function block(milliseconds) {
  setTimeout(() => {
    for (const end = Date.now() + milliseconds; Date.now() < end;);
  });
}

function commands(engine, url) {
  const pages = new Map();
  return {
    async open({ name, path, query }) {
      const page = await engine.newPage();
      pages.set(name, page);
      page.on("console", (message) => print({ who: name, what: "console", text: message.text() }));
      page.on("pageerror", (error) => print({ who: name, what: "thrown", text: String(error) }));
      await page.goto(`${new URL(path, url)}?${new URLSearchParams({ name, ...query })}`, { waitUntil: "load" });
    },
    close: ({ name }) => pages.get(name).close(),
    reload: ({ name }) => pages.get(name).reload(),
    crash: ({ name }) => engine.crash(pages.get(name)),
    freeze: ({ name }) => engine.freeze(pages.get(name)),
    thaw: ({ name }) => engine.thaw(pages.get(name)),
    offline: ({ yes }) => engine.offline(yes),
    run: ({ name, code }) => pages.get(name).evaluate(code),
    async block({ name, seconds }) {
      await pages.get(name).evaluate(block, seconds * 1000);
    },
  };
}

run(async (options) => {
  const engine = await engines[options.browser](options.program, options.settings);
  try {
    const known = commands(engine, options.url);
    const over = setTimeout(() => process.exit(0), options.seconds * 1000);
    let number = 0;
    for await (const line of readline.createInterface({ input: process.stdin })) {
      const command = JSON.parse(line);
      await known[command.do](command);
      print({ who: "driver", what: "done", number: ++number });
    }
    clearTimeout(over);
  } finally {
    await engine.close();
  }
});
