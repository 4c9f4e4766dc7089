// Formats numbers, and makes elements, for the status page. Nothing here knows what the page shows.
//
// No HTML is made from text: what workers report is always inserted as text.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

// -- numbers for people -----------------------------------------------------------

export const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
export const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
export const rate = (value) =>
  value === undefined ? "–" : value < 10 ? String(+value.toFixed(1)) : short.format(value);
export const count = (value) => (value < 100_000 ? whole.format(value) : short.format(value));
export const seconds = (value) => `${value < 10 ? +value.toFixed(1) : Math.round(value)} s`;

const UNITS = Object.entries({ d: 86400, h: 3600, min: 60, s: 1 });

export function span(value) {
  const [unit, size] = UNITS.find(([, one]) => value >= 2 * one) ?? ["s", 1];
  return `${Math.floor(value / size)} ${unit}`;
}

export function bytes(value) {
  const power = Math.min(3, Math.floor(Math.log2(Math.max(1, value)) / 10));
  return `${+(value / 1024 ** power).toFixed(power ? 1 : 0)} ${["bytes", "KB", "MB", "GB"][power]}`;
}

export const sum = (values) => values.reduce((total, value) => total + value, 0);
export const numberOf = (value) => (value && typeof value === "object" ? sum(Object.values(value)) : (value ?? 0));

// -- making elements --------------------------------------------------------------

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export function shape(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes))
    if (value !== undefined) made.setAttribute(key, typeof value === "number" ? +value.toFixed(1) : value);
  if (text !== undefined) made.textContent = text;
  return made;
}

export function fillTable(table, heads, rows) {
  const head = element("tr", {}, ...heads.map((text) => element("th", { scope: "col" }, text)));
  const cell = (it, index) => {
    const { text = it, bad } = it ?? {};
    return index
      ? element("td", { "data-bad": bad ? "" : undefined }, (bad ? "⚠ " : "") + text)
      : element("th", { scope: "row" }, text);
  };
  const body = rows.map((row) => element("tr", {}, ...row.map(cell)));
  table.replaceChildren(element("thead", {}, head), element("tbody", {}, ...body));
}
