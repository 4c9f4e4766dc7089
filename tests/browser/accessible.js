// Goes through the example's pages in Chromium, with the keyboard alone, and has axe judge each: in light and in English,
// and in dark and in German.
//
//   node accessible.js '{"chromium": "/usr/bin/chromium", "url": "http://…", "axe": "…/axe.min.js",
//     "file": "…/rows.csv", "seconds": 60}'
//
// For each scheme, as `who`: "axe" (page, violations, unsure, passes), "tabs" (page, what the tab key reaches, and what it
// should), "thrown" (errors of the page), and "did" (what keys did: login, upload, kept, dismiss, focus,
// details), "contrast" (of the demo's drawings), and "words" (page, its language, title and texts). It ends by itself.
"use strict";

const fs = require("fs");
const { print, runChromium } = require("./script.js");

const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

/** Return the least contrast of the text in drawings, whose background axe does not know: the card is it. */
const contrast = () => {
  const light = (color) => {
    const [r, g, b] = color
      .match(/[\d.]+/g)
      .slice(0, 3)
      .map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [...document.querySelectorAll("svg text")].map((it) => {
    const both = [getComputedStyle(it).fill, getComputedStyle(it.closest(".card")).backgroundColor].map(light);
    return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
  });
  return { least: Math.min(...found), count: found.length };
};

/** Return what may be operated, in the document's order: each needs a place in the tab order. */
const operable = () =>
  [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")]
    .filter((it) => !it.disabled && it.checkVisibility())
    .map((it) => it.outerHTML.slice(0, 80));

/** Return the language of the page, and its texts, without the sources that it shows. */
const wordsOf = () => ({
  lang: document.documentElement.lang,
  title: document.title,
  words: [...document.querySelectorAll("pre")].reduce(
    (text, { innerText }) => text.replace(innerText, ""),
    document.querySelector("main").innerText,
  ),
  labels: [...document.querySelectorAll("main [aria-label]")].map((it) => it.getAttribute("aria-label")),
});

const focused = () => {
  const it = document.activeElement;
  if (!it || it === document.body) return null;
  const style = getComputedStyle(it);
  return {
    html: it.outerHTML.slice(0, 80),
    isSeen: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
  };
};

class Look {
  constructor(page, who, options) {
    Object.assign(this, { page, who, options });
    page.setDefaultTimeout(options.seconds * 1000);
    page.on("pageerror", (error) => this.print("thrown", { text: String(error) }));
  }

  print(what, more) {
    print({ who: this.who, what, ...more });
  }

  async open(path) {
    await this.page.goto(this.options.url + path);
  }

  /** With the debugger, to which the page's policy does not apply. */
  async judge(name) {
    await this.page.evaluate(fs.readFileSync(this.options.axe, "utf8"));
    const found = await this.page.evaluate((rules) => globalThis.axe.run(document, { runOnly: rules }), RULES);
    const summarize = ({ id, nodes }) => ({ id, nodes: nodes.map((node) => `${node.html}: ${node.failureSummary}`) });
    const passes = found.passes.map(({ id }) => id);
    const [violations, unsure] = [found.violations.map(summarize), found.incomplete.map(summarize)];
    this.print("axe", { page: name, violations, unsure, passes });
    this.print("words", { page: name, ...(await this.page.evaluate(wordsOf)) });
  }

  /** Press the tab key until it leaves the page. */
  async walk(name) {
    const wanted = await this.page.evaluate(operable);
    const seen = [];
    await this.page.evaluate(() => {
      document.body.tabIndex = -1; // the tab key goes on from there
      document.body.focus();
      document.body.removeAttribute("tabindex");
    });
    for (let count = 0; count <= wanted.length; count += 1) {
      await this.page.keyboard.press("Tab");
      const one = await this.page.evaluate(focused);
      if (!one || (count && one.html === seen[0].html)) break;
      seen.push(one);
    }
    this.print("tabs", { page: name, wanted, seen });
  }

  /** Press the tab key until what is focused matches; with it, the key. */
  async press(selector, key) {
    for (let count = 0; count < 40; count += 1) {
      if (await this.page.evaluate((wanted) => document.activeElement?.matches(wanted), selector)) {
        return key && this.page.keyboard.press(key);
      }
      await this.page.keyboard.press("Tab");
    }
    throw new Error(`the tab key does not reach ${selector}`);
  }

  async type(selector, text) {
    await this.press(selector);
    await this.page.keyboard.type(text);
  }

  async logIn() {
    await this.open("/login");
    await this.judge("login");
    await this.walk("login");
    await this.type("#name", "ada");
    await this.type("#password", "wrong");
    await this.page.keyboard.press("Enter");
    await this.page.waitForSelector(".error:not(:empty)");
    await this.judge("login refused");
    await this.type("#password", "ada");
    await this.page.keyboard.press("Enter");
    await this.page.waitForSelector("#upload");
    this.print("did", { login: await this.page.textContent(".account strong") });
  }

  async upload() {
    const chooser = this.page.waitForEvent("filechooser");
    await this.press("#file", "Enter");
    await (await chooser).setFiles(this.options.file);
    await this.press("#send", "Enter");
    await this.page.waitForSelector(".job[data-state=running]");
    await this.judge("a job runs");
    await this.page.waitForSelector(".job[data-state=failed], .job[data-state=done]");
    await this.page.waitForSelector(".toast");
    await this.judge("a notice");
    await this.walk("a notice");
    this.print("did", { upload: await this.page.textContent(".job .job-state") });
    await this.press(".toast button");
    await this.page.evaluate(() => globalThis.expirations.splice(0).forEach((expire) => expire()));
    this.print("did", { kept: await this.page.locator(".toast").count() });
    await this.page.keyboard.press("Enter");
    const focus = await this.page.evaluate(() => document.activeElement.id);
    this.print("did", { dismiss: await this.page.locator(".toast").count(), focus });
  }

  async demo() {
    await this.open("/demo");
    const isDrawn = () => document.querySelector(".lane[data-state=open] .lane-silence:not(:empty)");
    await this.page.waitForFunction(isDrawn, null, { polling: 100 });
    await this.press("summary", "Enter");
    this.print("did", { details: await this.page.locator("details[open]").count() });
    await this.judge("demo");
    this.print("contrast", await this.page.evaluate(contrast));
    await this.walk("demo");
  }
}

/** Keep what would end the notices after 15 s, for the script to call. */
const holdNotices = () => {
  const real = globalThis.setTimeout;
  globalThis.expirations = [];
  globalThis.setTimeout = (work, after, ...rest) =>
    after === 15000 ? globalThis.expirations.push(work) : real(work, after, ...rest);
};

runChromium(async (options, browser) => {
  for (const [who, locale] of Object.entries({ light: "en-GB", dark: "de-DE" })) {
    const context = await browser.newContext({ colorScheme: who, reducedMotion: "reduce", locale });
    await context.addInitScript(holdNotices);
    const look = new Look(await context.newPage(), who, options);
    for (const path of ["/", "/?client=old", "/nowhere"]) {
      await look.open(path);
      await look.judge(path);
      await look.walk(path);
    }
    await look.logIn();
    await look.upload();
    await look.demo();
    await context.close();
  }
});
