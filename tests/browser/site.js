// Opens the pages of the documentation's site in Chromium, as files, and prints what it finds.
//
//   node site.js '{"chromium": "/usr/bin/chromium", "folder": "/…/site", "pages": ["index.html", …], "axe": "…/axe.min.js",
//     "judged": ["index.html", …], "search": ["publish_many", …], "seconds": 60}'
//
// As `who`: "phone" and "desktop" (what: "page" with its name, its width and that of the screen), "foreign" (what:
// "request", URLs that are no files), "light" and "dark" (what: "axe"), "search" (what: "found", by query), and any of
// them (what: "thrown"). It ends by itself.
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

/** Measure a page on each screen, when its menu has moved to where it is on this screen. */
async function measure(page, name, url) {
  const fits = () => document.documentElement.scrollWidth <= innerWidth;
  await page.goto(url);
  for (const [who, viewport] of Object.entries(SCREENS)) {
    await page.setViewportSize(viewport);
    await page.waitForFunction(fits, null, { timeout: 2000 }).catch(() => {});
    const [width, screen] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    print({ who, what: "page", page: name, width, screen });
  }
}

async function judge(page, who, name, url, axe) {
  await page.goto(url);
  await page.addScriptTag({ path: axe });
  const { violations } = await page.evaluate((rules) => window.axe.run({ runOnly: rules }), RULES);
  const told = violations.map(({ id, nodes }) => ({ id, nodes: nodes.map((node) => node.html.slice(0, 120)) }));
  print({ who, what: "axe", page: name, violations: told });
}

/** Search as a reader does, and print where the results lead. */
async function search(page, query, seconds) {
  const results = page.locator(".md-search-result__item a[href*='?h=']");
  await page.locator("input[name=query]").pressSequentially(query);
  await results.first().waitFor({ timeout: seconds * 1000 });
  const hrefs = await results.evaluateAll((links) => links.map((link) => link.getAttribute("href")));
  print({ who: "search", what: "found", query, hrefs });
}

runChromium(async ({ folder, pages, axe, judged, search: queries, seconds }, browser) => {
  const toUrl = (name) => pathToFileURL(path.join(folder, name)).href;
  const sized = await openPage(browser, SCREENS.phone, "light", "sized");
  for (const name of pages) await measure(sized, name, toUrl(name));
  for (const scheme of ["light", "dark"]) {
    const page = await openPage(browser, SCREENS.desktop, scheme, scheme);
    for (const name of judged) await judge(page, scheme, name, toUrl(name), axe);
  }
  for (const query of queries) {
    const page = await openPage(browser, SCREENS.desktop, "light", "search");
    await page.goto(toUrl("index.html"));
    await page.click("input[name=query]");
    await search(page, query, seconds);
  }
});
