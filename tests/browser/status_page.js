// Looks at the status page in Chromium, in light and in dark, and prints what it finds, one JSON object per line.
//
//   node status_page.js '{"chromium": "/usr/bin/chromium", "url": "http://…/events/status", "axe": "…/axe.min.js",
//     "folder": "…/build", "until": "document.…", "seconds": 30}'
//
// For each scheme, as `who`: "console" and "thrown" (the page's errors), "request" (each URL), then, when
// the expression `until` is true, "tiles" (name: value), "rows" (of the table of workers), "tabs" (what the tab key
// reaches, in order), "shot" (a file), "contrasts" (of the drawings), "keys" (what keys did), "choices" (of a worker and
// a time, by keys), "trouble" (what it says
// without stream and broker), "axe" (violations), and "narrow" (its width on a telephone). Then, as "hasty", a page
// that is paused before it has figures: "early" (its requests until it continues), and, as its stream opens slowly
// then, "late" (its requests until it has drawn the figures). It ends by itself.
"use strict";

const path = require("path");
const { print, runChromium } = require("./script.js");

const tilesOf = () =>
  Object.fromEntries(
    [...document.querySelectorAll("#tiles div")].map((tile) => [
      tile.querySelector("dt").textContent,
      tile.querySelector("dd").textContent,
    ]),
  );

const rowsOf = () =>
  [...document.querySelectorAll("#workers tbody tr")].map((row) => [...row.cells].map((cell) => cell.textContent));

/** Wait until the expression is true. The debugger evaluates it: the page's policy forbids what waitForFunction does. */
async function until(page, expression, seconds) {
  for (const end = Date.now() + seconds * 1000; !(await page.evaluate(expression));) {
    if (Date.now() > end)
      throw new Error(`never true: ${expression}\n${await page.evaluate("document.body.innerText")}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Return what has the focus, and whether the focus is visible. */
const focused = () => {
  const it = document.activeElement;
  const name =
    it.getAttribute("aria-label") ??
    document.getElementById(it.getAttribute("aria-labelledby"))?.textContent ??
    it.labels?.[0]?.firstChild.textContent ??
    it.textContent;
  return { name: name.trim(), tag: it.tagName, isSeen: getComputedStyle(it).outlineStyle !== "none" };
};

/** Return the least contrast (WCAG 2.2, 1.4.3 and 1.4.11) of drawings, which axe cannot measure: of text and of shapes. */
const contrasts = () => {
  const parts = (color) => color.match(/[\d.]+/g).map(Number);
  const light = (color) => {
    const [r, g, b] = parts(color).map((part) =>
      part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4,
    );
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const of = (selector, property) =>
    [...document.querySelectorAll(selector)].map((it) => {
      const both = [getComputedStyle(it)[property], getComputedStyle(it.closest("figure")).backgroundColor].map(light);
      return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
    });
  const [words, shapes] = [
    of("svg text", "fill"),
    [...of("svg .bar", "fill"), ...of("svg .drawn, svg .mark", "stroke")],
  ];
  return { words: Math.min(...words), shapes: Math.min(...shapes), count: [words.length, shapes.length] };
};

async function tabs(page) {
  const seen = [];
  for (let count = 0; count < 30; count += 1) {
    await page.keyboard.press("Tab");
    const one = await page.evaluate(focused);
    if (one.tag === "BODY") break;
    seen.push(one);
  }
  return seen;
}

/** Open a chart's table, and pause and continue the page, with keys alone. */
async function keys(page, seconds) {
  const done = {};
  await page.focus("#streams summary");
  await page.keyboard.press("Enter");
  await until(page, `document.querySelectorAll("#streams tbody tr").length > 0`, seconds);
  done.table = true;
  await page.focus("#pause");
  await page.keyboard.press("Space");
  await until(page, `document.querySelector("#state").dataset.state === "paused"`, seconds);
  done.paused = true;
  await page.keyboard.press("Space");
  await until(page, `document.querySelector("#state").dataset.state === "live"`, seconds);
  done.live = true;
  return done;
}

/** Choose a worker and ten minutes for the charts, with keys alone. */
async function choices(page, seconds) {
  const workers = await page.evaluate(() => [...document.querySelector("#whose").options].map(({ text }) => text));
  await page.focus("#whose");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Tab");
  await page.keyboard.press("ArrowDown");
  const said = `document.querySelector("#streams svg").getAttribute("aria-label")`;
  const first = `document.querySelector("#workers tbody td:nth-child(3)").textContent`;
  await until(page, `${said}.startsWith("Open streams: now " + ${first} + ";")`, seconds);
  const span = await page.evaluate(() => {
    const { labels, selectedOptions } = document.querySelector("#range");
    return labels[0].firstChild.textContent + selectedOptions[0].text;
  });
  return { workers, isShown: true, span };
}

/** Without a stream the page polls and says so; it also says when the broker is away. */
async function withoutStream(page, seconds) {
  await page.route("**/status/stream", (route) => route.abort());
  await page.route("**/status.json", async (route) => {
    const status = await (await route.fetch()).json();
    await route.fulfill({
      json: {
        ...status,
        broker: { is_reachable: false, trouble: "a test" },
        totals: { ...status.totals, events: null },
      },
    });
  });
  await page.click("#pause");
  await page.click("#pause");
  await until(page, `document.querySelector("#state").textContent.startsWith("No stream")`, seconds);
  return page.evaluate(`document.querySelector("#trouble").innerText`);
}

async function look(browser, options, who) {
  const context = await browser.newContext({
    colorScheme: who,
    viewport: { width: 1280, height: 1000 },
    bypassCSP: false,
  });
  context.setDefaultTimeout(options.seconds * 1000);
  const page = await context.newPage();
  page.on("console", (message) => print({ who, what: "console", text: message.text() }));
  page.on("pageerror", (error) => print({ who, what: "thrown", text: String(error) }));
  page.on("request", (request) => print({ who, what: "request", url: request.url() }));
  await page.goto(options.url, { waitUntil: "load" });
  await until(page, options.until, options.seconds);
  print({ who, what: "tiles", tiles: await page.evaluate(tilesOf) });
  print({ who, what: "rows", rows: await page.evaluate(rowsOf) });
  print({ who, what: "tabs", tabs: await tabs(page) });
  await page.evaluate(() => document.activeElement.blur());
  const file = path.join(options.folder, `status-${who}.png`);
  await page.screenshot({ path: file, fullPage: true });
  print({ who, what: "shot", file });
  print({ who, what: "contrasts", contrasts: await page.evaluate(contrasts) });
  print({ who, what: "keys", keys: await keys(page, options.seconds) });
  print({ who, what: "choices", choices: await choices(page, options.seconds) });
  print({ who, what: "trouble", trouble: await withoutStream(page, options.seconds) });
  // With the debugger, to which the page's policy does not apply.
  await page.evaluate(require("fs").readFileSync(options.axe, "utf8"));
  const found = await page.evaluate(() =>
    globalThis.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"] }),
  );
  const summarize = ({ id, nodes }) => ({ id, nodes: nodes.map((node) => `${node.html}: ${node.failureSummary}`) });
  print({
    who,
    what: "axe",
    violations: found.violations.map(summarize),
    unsure: found.incomplete.map(summarize),
    passes: found.passes.map(({ id }) => id),
  });
  await page.setViewportSize({ width: 360, height: 800 });
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  await page.screenshot({ path: path.join(options.folder, `status-${who}-narrow.png`) });
  print({ who, what: "narrow", narrow: width });
  await context.close();
}

/** Pause the page before its first figures; then its stream opens more slowly than the client waits. */
async function haste(browser, options, who) {
  const page = await (await browser.newContext()).newPage();
  page.setDefaultTimeout(options.seconds * 1000);
  page.on("pageerror", (error) => print({ who, what: "thrown", text: String(error) }));
  let [asked, letGo] = [[], undefined];
  const held = new Promise((resolve) => (letGo = resolve));
  await page.route("**/status.json", (route) => void held.then(() => route.continue()));
  await page.route("**/status/stream*", async (route) => {
    const poll = new URL(route.request().url()).searchParams.get("poll");
    asked.push(poll ?? "stream");
    if (!poll) await new Promise((resolve) => setTimeout(resolve, 2000));
    await route.continue().catch(() => {}); // it was given up meanwhile
  });
  await page.goto(options.url, { waitUntil: "load" });
  await page.click("#pause");
  letGo();
  await until(page, "document.body.dataset.drawn", options.seconds);
  await page.evaluate("fetch('status.json')"); // what was asked before it was seen by now
  print({ who, what: "early", early: asked, state: await page.evaluate("document.querySelector('#state').innerText") });
  asked = [];
  await page.click("#pause");
  for (let count = 0; count < 2; count += 1) {
    const drawn = await page.evaluate("document.body.dataset.drawn");
    await until(
      page,
      `document.body.dataset.drawn !== "${drawn}" && document.querySelector("#state").innerText === "Live"`,
      options.seconds,
    );
  }
  print({ who, what: "late", late: asked });
}

runChromium(async (options, browser) => {
  for (const who of ["light", "dark"]) await look(browser, options, who);
  await haste(browser, options, "hasty");
});
