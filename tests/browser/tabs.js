// Tabs of one browser on the page of tests/apps/tabs.py. Prints what they report, one JSON object a line.
//
//   node tabs.js '{"chromium": "/usr/bin/chromium", "url": "http://…/tab", "seconds": 30}'
//
// Commands come on standard input, one JSON object a line, and are done one after the other: {"do": "open", "name": "a",
// "query": {…}}, {"do": "close", "name": "a"}, {"do": "crash", "name": "a"}, {"do": "freeze", "name": "a"}, {"do": "thaw",
// "name": "a"}, {"do": "offline", "yes": true}, {"do": "run", "name": "a", "code": "…"}. Each is answered by {who: "driver",
// what: "done", number}. It ends after `seconds`, or when its standard input closes.
"use strict";

const readline = require("readline");
const { chromium } = require("playwright-core");

const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"];

const print = (entry) => process.stdout.write(JSON.stringify({ at: Date.now() / 1000, ...entry }) + "\n");

function commands(context, url) {
  const pages = new Map();
  const lifecycle = async (name, state) => {
    const session = await context.newCDPSession(pages.get(name));
    await session.send("Page.setWebLifecycleState", { state });
  };
  return {
    async open({ name, query }) {
      const page = await context.newPage();
      pages.set(name, page);
      page.on("console", (message) => print({ who: name, what: "console", text: message.text() }));
      page.on("pageerror", (error) => print({ who: name, what: "thrown", text: String(error) }));
      await page.goto(`${url}?${new URLSearchParams({ name, ...query })}`, { waitUntil: "load" });
    },
    close: ({ name }) => pages.get(name).close(),
    crash: ({ name }) => void pages.get(name).goto("chrome://crash").catch(() => {}),
    freeze: ({ name }) => lifecycle(name, "frozen"),
    thaw: ({ name }) => lifecycle(name, "active"),
    offline: ({ yes }) => context.setOffline(yes),
    run: ({ name, code }) => pages.get(name).evaluate(code),
  };
}

async function main() {
  const wish = JSON.parse(process.argv[2]);
  const browser = await chromium.launch({ executablePath: wish.chromium, headless: true, args: FLAGS, timeout: 20000 });
  try {
    const context = await browser.newContext();
    await context.exposeFunction("report", print);
    const known = commands(context, wish.url);
    const over = setTimeout(() => process.exit(0), wish.seconds * 1000);
    let number = 0;
    for await (const line of readline.createInterface({ input: process.stdin })) {
      const command = JSON.parse(line);
      await known[command.do](command);
      print({ who: "driver", what: "done", number: ++number });
    }
    clearTimeout(over);
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
