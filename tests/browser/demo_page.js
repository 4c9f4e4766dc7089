// Uses the example's demo page in Chromium as a visitor would, and prints what its lanes show, one JSON object per line.
//
//   node demo_page.js '{"chromium": "/usr/bin/chromium", "url": "http://…/demo", "seconds": 40, "name": "ada",
//                       "screenshots": "/…/build/demo"}'
//
// It logs in, sends the sample, cuts the connections while the next one is checked, and waits for the old stream behind
// nginx to be given up. Then it sends a file, closes the tab while this is checked, and opens another one.
// Lines: {what: "open", "watched", "cut", "given up", "left", "found", lanes: {<id>: {state, verdict, figures, news,
// marks: {<kind>: number}}}, told, check: {state, told, figures}, queries: {<stream>: number}}; {what: "error", text} for
// console errors and exceptions. It ends by itself.
"use strict";

const { print, runChromium } = require("./script.js");

const AFTER = ["#after-direct", "#after-nginx"];
const OTHERS = ["#feed-direct", "#feed-nginx", "#before-direct"];

const PATIENCE = 20000; // ms for each thing that is waited for

// Runs in the page.
function look() {
  const text = (lane, selector) => lane.querySelector(selector).textContent;
  const lanes = {};
  for (const lane of document.querySelectorAll(".lane")) {
    const marks = {};
    for (const mark of lane.querySelectorAll(".timeline [class][data-x]")) {
      const kind = mark.getAttribute("class");
      marks[kind] = (marks[kind] || 0) + 1;
    }
    const { state, verdict } = lane.dataset;
    lanes[lane.id] = { state, verdict, figures: text(lane, ".lane-figures"), news: text(lane, ".lane-news"), marks };
  }
  const queries = {};
  for (const row of document.querySelectorAll("#queries tr[data-url]"))
    queries[row.dataset.url] = Number(text(row, ".count"));
  const element = document.getElementById("check");
  const check = {
    state: element.dataset.state,
    told: text(element, ".check-told"),
    figures: text(element, ".check-figures"),
  };
  return { lanes, told: document.getElementById("told").textContent, check, queries };
}

// Runs in the page.
function toldAll(lane) {
  return /told (\d{2,}) of \1 changes/.test(document.querySelector(lane).textContent);
}

runChromium(async (options, browser) => {
  setTimeout(() => {
    console.error("not done in time");
    browser.close();
  }, options.seconds * 1000).unref();
  try {
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, colorScheme: "light" });
    const page = await context.newPage();
    page.on("console", (message) => message.type() === "error" && print({ what: "error", text: message.text() }));
    page.on("pageerror", (error) => print({ what: "error", text: String(error) }));
    const tell = async (what) => print({ what, ...(await page.evaluate(look)) });
    const shoot = (name) => page.screenshot({ path: `${options.screenshots}_${name}.png`, fullPage: true });

    page.setDefaultTimeout(PATIENCE);
    await page.goto(options.url, { waitUntil: "load" });
    await page.click("main >> text=Log in");
    await page.fill("#name", options.name);
    await page.fill("#password", options.name);
    await page.click("main button");
    for (const lane of [...AFTER, ...OTHERS]) await page.waitForSelector(`${lane}[data-state="open"]`);
    await tell("open");

    await page.click("#upload button >> nth=0");
    await page.waitForSelector('#told:text("A notice for ")');
    await page.waitForSelector('#check[data-state="done"]');
    for (const lane of AFTER) await page.waitForFunction(toldAll, lane);
    await tell("watched");
    await shoot("watched");

    await page.click("#cut");
    for (const lane of [...AFTER, ...OTHERS]) await page.waitForSelector(`${lane}[data-verdict]`);
    await tell("cut");
    await shoot("cut");

    await page.waitForSelector('#before-nginx .lane-news:text("No activity")');
    await tell("given up");
    await page.emulateMedia({ colorScheme: "dark" });
    await shoot("dark");
    await page.setViewportSize({ width: 390, height: 844 });
    await shoot("phone");

    await page.setViewportSize({ width: 1280, height: 900 });
    await page.click("#upload button >> nth=0");
    await page.waitForSelector('#check[data-state="running"]');
    await page.waitForFunction(() => Number(document.getElementById("check").dataset.steps) > 4);
    await tell("left");
    await page.close();
    const other = await context.newPage();
    await other.goto(options.url, { waitUntil: "load" });
    await other.waitForSelector('#check[data-state="done"]');
    print({ what: "found", ...(await other.evaluate(look)) });
    await other.screenshot({ path: `${options.screenshots}_found.png`, fullPage: true });
  } catch (error) {
    for (const page of browser.contexts().flatMap((context) => context.pages())) print(await page.evaluate(look));
    throw error;
  }
});
