// Clients of other people, each by its defaults, on the scripts of tests/apps/scripted.py. A module for that page.
//
// A client is a function of a script ("end,live": the answers, one after the other) and of `tell`, which reports. It
// reports "message" with each message's data, and "over" if it has given up by itself.

const address = (name, script, more = "") => `/scripts/${name}-${script}?answers=${script}${more}`;

/** Load a classic script once, in order. */
const loaded = new Map();
function load(file) {
  if (!loaded.has(file))
    loaded.set(
      file,
      new Promise((resolve, reject) => {
        const made = Object.assign(document.createElement("script"), { src: `/npm/${file}`, onload: resolve });
        made.onerror = reject;
        document.head.append(made);
      }),
    );
  return loaded.get(file);
}

function listen(source, tell) {
  source.onmessage = (event) => tell("message", { data: event.data });
  source.onerror = () => source.readyState === 2 && tell("over");
}

/** Add an element, and report the text of what is put into it. */
function place(html, tell) {
  const place = document.createElement("div");
  place.innerHTML = html;
  new MutationObserver((changes) => {
    for (const { addedNodes } of changes)
      for (const node of addedNodes) if (node.textContent.trim()) tell("message", { data: node.textContent.trim() });
  }).observe(place.querySelector(".out"), { childList: true });
  document.body.append(place);
  return place;
}

export function native(script, tell) {
  listen(new EventSource(address("native", script)), tell);
}

export async function polyfill(script, tell) {
  await load("event-source-polyfill/src/eventsource.js");
  listen(new window.EventSourcePolyfill(address("polyfill", script)), tell);
}

export async function fetched(script, tell) {
  const { fetchEventSource } = await import("/npm/@microsoft/fetch-event-source/lib/esm/fetch.js");
  const onmessage = ({ data }) => tell("message", { data });
  await fetchEventSource(address("fetched", script), { onmessage }).catch(() => {});
  tell("over");
}

export async function mux(script, tell) {
  const { SSEMux } = await import("/events/ssemux.js");
  const made = new SSEMux(address("mux", script), { shared: false });
  made.channel(`room:mux-${script}`).on("message", ({ data }) => tell("message", { data }));
  made.on("ssemux.closed", () => tell("over"));
}

async function htmx(name, files, script, tell) {
  for (const file of files) await load(file);
  const url = address(name, script);
  const html = `<div hx-ext="sse" sse-connect="${url}"><p class="out" sse-swap="message" hx-swap="beforeend"></p></div>`;
  window.htmx.process(place(html, tell));
}

export const htmx1 = (...all) => htmx("htmx1", ["htmx1/dist/htmx.js", "htmx1/dist/ext/sse.js"], ...all);
export const htmx2 = (...all) => htmx("htmx2", ["htmx.org/dist/htmx.js", "htmx-ext-sse/dist/sse.js"], ...all);

export async function htmx4(script, tell) {
  await load("htmx4/dist/htmx.js");
  await load("htmx4/dist/ext/hx-sse.js");
  const url = address("htmx4", script);
  window.htmx.process(place(`<p class="out" hx-sse:connect="${url}" hx-swap="beforeend"></p>`, tell));
}

export async function turbo(script, tell) {
  await import("/npm/@hotwired/turbo/dist/turbo.es2017-esm.js");
  const before = encodeURIComponent(`<turbo-stream action="append" target="turbo-${script}"><template>`);
  const html = `<p class="out" id="turbo-${script}"></p>`;
  place(html, tell).append(
    Object.assign(document.createElement("turbo-stream-source"), {}),
  );
  const source = document.createElement("turbo-stream-source");
  source.setAttribute("src", address("turbo", script, `&before=${before}`));
  document.body.append(source);
  source.streamSource.addEventListener("error", () => source.streamSource.readyState === 2 && tell("over"));
}

async function datastar(name, file, script, tell) {
  const before = encodeURIComponent(`mode append\nselector #${name}-${script.replaceAll(",", "-")}\nelements `);
  const url = address(name, script, `&event=datastar-patch-elements&before=${before}`);
  place(`<p class="out" id="${name}-${script.replaceAll(",", "-")}"></p><i data-init="@get('${url}')"></i>`, tell);
  document.addEventListener("datastar-fetch", ({ detail }) => {
    if (detail.el.dataset.init?.includes(url)) tell("datastar", { data: detail.type });
    if (detail.el.dataset.init?.includes(url) && detail.type === "finished") tell("over");
  });
  await import(file);
}

export async function datastar0(script, tell) {
  const id = `datastar0-${script.replaceAll(",", "-")}`;
  const before = encodeURIComponent(`mergeMode append\nselector #${id}\nfragments `);
  const url = address("datastar0", script, `&event=datastar-merge-fragments&before=${before}`);
  place(`<p class="out" id="${id}"></p><i id="i${id}" data-on-load="@get('${url}')"></i><b data-text="ctx.signals.JSON()" id="s${id}"></b>`, tell);
  document.addEventListener("datastar-sse", ({ detail }) => {
    if (detail.elId === `i${id}`) tell("datastar", { data: detail.type + JSON.stringify(detail.argsRaw) });
    if (detail.elId === `i${id}` && detail.type === "finished") tell("over");
  });
  await import("/npm/@starfederation/datastar/dist/datastar.js");
}

export const datastar1 = (...all) => datastar("datastar1", window.DATASTAR || "/datastar.js", ...all);
