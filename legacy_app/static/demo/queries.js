/*
 * How often the streams of jobs ask the database: figures of the server, in the table of the demo page.
 */

const EVERY = 1000; // ms
const SPAN = 10; // figures over which the rate is taken

/** Fill the table with figures that are read once a second, until `signal` aborts. */
export async function showQueries(table, signal) {
  const seen = [];
  while (!signal.aborted) {
    const counts = await readCounts(signal);
    if (counts) {
      seen.push({ at: performance.now(), counts });
      for (const row of table.querySelectorAll("tr[data-url]")) fillRow(row, seen);
      if (seen.length > SPAN + 1) seen.splice(1, 1); // the first one stays: what the page counts from
    }
    await new Promise((resolve) => setTimeout(resolve, EVERY));
  }
}

async function readCounts(signal) {
  try {
    const response = await fetch("/api/queries", { signal, cache: "no-store" });
    return response.ok ? await response.json() : undefined;
  } catch {
    return undefined; // a deploy: the next one comes
  }
}

function fillRow(row, seen) {
  const [first, now] = [seen[0], seen.at(-1)];
  const earlier = seen[Math.min(1, seen.length - 1)];
  const { url } = row.dataset;
  const seconds = (now.at - earlier.at) / 1000;
  const rate = seconds ? Texts.tenths((now.counts[url] - earlier.counts[url]) / seconds) : "–";
  row.querySelector(".rate").textContent = rate;
  row.querySelector(".count").textContent = Texts.count(now.counts[url] - first.counts[url]);
}
