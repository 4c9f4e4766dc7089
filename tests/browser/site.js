// Opens the pages of the documentation's site in Chromium, as files, and prints what it finds.
//
//   node site.js '{"chromium": "/usr/bin/chromium", "folder": "/…/site", "pages": ["index.html", …], "axe": "…/axe.min.js",
//     "judged": ["index.html", …], "search": ["publish_many", …], "seconds": 60}'
//
// As `who`: "phone" and "desktop" (what: "page" with its name, its width and that of the screen; "thrown"), "foreign"
// (URLs that are no files), "light" and "dark" (what: "axe"), and "search" (what: "found", by query). It ends by itself.
"use strict";

const path = require("path");
const { pathToFileURL } = require("url");
const { print, runChromium } = require("./script.js");

const SCREENS = { phone: { width: 390, height: 800 }, desktop: { width: 1280, height: 1000 } };
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"];

async function openPage(browser, viewport, colorScheme, who) {
  const context = await browser.newContext({ viewport, colorScheme });
  const page = await context.newPage();
  page.on("pageerror", (error) => print({ who, what: "thrown", text: String(error) }));
  page.on("request", (request) => {
    if (!/^(file|data|blob|about):/.test(request.url())) print({ who: "foreign", what: "request", url: request.url() });
  });
  return page;
}

async function measure(page, who, name, url) {
  await page.goto(url);
  const [width, screen] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  print({ who, what: "page", page: name, width, screen });
}

async function judge(page, who, name, url, axe) {
  await page.goto(url);
  await page.addScriptTag({ path: axe });
  const { violations } = await page.evaluate((rules) => window.axe.run({ runOnly: rules }), RULES);
  const told = violations.map(({ id, nodes }) => ({ id, nodes: nodes.map((node) => node.html.slice(0, 120)) }));
  print({ who, what: "axe", page: name, violations: told });
}

/** Search as a reader does, and print where the first result leads. */
async function search(page, query, seconds) {
  await page.fill("input[name=query]", query);
  const first = page.locator(".md-search-result__item a").filter({ hasText: query }).first();
  await first.waitFor({ timeout: seconds * 1000 });
  print({ who: "search", what: "found", query, href: await first.getAttribute("href") });
  await page.fill("input[name=query]", "");
}

runChromium(async ({ folder, pages, axe, judged, search: queries, seconds }, browser) => {
  const toUrl = (name) => pathToFileURL(path.join(folder, name)).href;
  for (const [who, viewport] of Object.entries(SCREENS)) {
    const page = await openPage(browser, viewport, "light", who);
    for (const name of pages) await measure(page, who, name, toUrl(name));
  }
  for (const scheme of ["light", "dark"]) {
    const page = await openPage(browser, SCREENS.desktop, scheme, scheme);
    for (const name of judged) await judge(page, scheme, name, toUrl(name), axe);
  }
  const page = await openPage(browser, SCREENS.desktop, "light", "search");
  await page.goto(toUrl("index.html"));
  await page.click("input[name=query]");
  for (const query of queries) await search(page, query, seconds);
});
