// Clients of other people, by their defaults, on the scripts of tests/apps/scripted.py. A module for its page.
//
// A client is called with the script's URL, with `tell`, and with the script's key. It tells "message" for each message
// that it passes on, with its data, and "over" when it has given up by itself.

/** Load a classic script, each once. */
const loaded = new Map();
function load(file) {
  if (!loaded.has(file)) {
    const script = Object.assign(document.createElement("script"), { src: `/npm/${file}` });
    loaded.set(file, new Promise((resolve) => (script.onload = resolve)));
    document.head.append(script);
  }
  return loaded.get(file);
}

function listen(source, tell) {
  source.onmessage = ({ data }) => tell("message", { data });
  source.onerror = () => source.readyState === 2 && tell("over");
}

/** Add HTML to the page, and tell the text of what is put into its element `.out`. */
function place(html, tell) {
  const element = document.createElement("div");
  element.innerHTML = html;
  new MutationObserver((changes) => {
    for (const { addedNodes } of changes)
      for (const { textContent } of addedNodes) if (textContent.trim()) tell("message", { data: textContent.trim() });
  }).observe(element.querySelector(".out"), { childList: true });
  document.body.append(element);
  return element;
}

export function native(url, tell) {
  listen(new EventSource(url), tell);
}

export async function polyfill(url, tell) {
  await load("event-source-polyfill/src/eventsource.js");
  listen(new window.EventSourcePolyfill(url), tell);
}

async function openReconnecting(url) {
  await load("reconnecting-eventsource/dist/ReconnectingEventSource.min.js");
  return new window.ReconnectingEventSource(url);
}

export async function reconnecting(url, tell) {
  (await openReconnecting(url)).addEventListener("message", ({ data }) => tell("message", { data }));
}

export async function reconnectingplain(url, tell) {
  (await openReconnecting(url)).onmessage = ({ data }) => tell("message", { data });
}

export async function vueuse(url, tell) {
  for (const file of ["vue/dist/vue.global.prod.js", "@vueuse/shared/dist/index.iife.min.js"]) await load(file);
  await load("@vueuse/core/dist/index.iife.min.js");
  const { data } = window.VueUse.useEventSource(url, [], { autoReconnect: true });
  window.Vue.watch(data, (text) => tell("message", { data: text }), { flush: "sync" });
}

async function sse(options, url, tell) {
  const { SSE } = await import("/npm/sse.js/lib/sse.js");
  const source = new SSE(url, options);
  source.onmessage = ({ data }) => tell("message", { data });
  source.onreadystatechange = ({ readyState }) => readyState === 2 && !options.autoReconnect && tell("over");
}

export const ssejs = (...more) => sse({}, ...more);
export const ssejsagain = (...more) => sse({ autoReconnect: true }, ...more);

export async function fetched(url, tell) {
  const { fetchEventSource } = await import("/npm/@microsoft/fetch-event-source/lib/esm/fetch.js");
  await fetchEventSource(url, { onmessage: ({ event, data }) => event || tell("message", { data }) });
  tell("over");
}

export async function mux(url, tell, key) {
  const { SSEMux } = await import("/events/ssemux.js");
  const made = new SSEMux(url, { shared: false });
  made.channel(`room:${key}`).on("message", ({ data }) => tell("message", { data }));
  made.on("ssemux.closed", () => tell("over"));
}

async function htmx(files, url, tell) {
  for (const file of files) await load(file);
  const html = `<div hx-ext="sse" sse-connect="${url}"><p class="out" sse-swap="message" hx-swap="beforeend"></p></div>`;
  window.htmx.process(place(html, tell));
}

export const htmx1 = (...more) => htmx(["htmx1/dist/htmx.js", "htmx1/dist/ext/sse.js"], ...more);
export const htmx2 = (...more) => htmx(["htmx.org/dist/htmx.js", "htmx-ext-sse/dist/sse.js"], ...more);

export async function htmx4(url, tell) {
  for (const file of ["htmx4/dist/htmx.js", "htmx4/dist/ext/hx-sse.js"]) await load(file);
  window.htmx.process(place(`<p class="out" hx-sse:connect="${url}" hx-swap="beforeend"></p>`, tell));
}

export async function turbo(url, tell, key) {
  await import("/npm/@hotwired/turbo/dist/turbo.es2017-esm.js");
  const before = encodeURIComponent(`<turbo-stream action="append" target="${key}"><template>`);
  const source = `<turbo-stream-source src="${url}&before=${before}"></turbo-stream-source>`;
  const { streamSource } = place(`<p class="out" id="${key}"></p>${source}`, tell).lastChild;
  streamSource.addEventListener("error", () => streamSource.readyState === 2 && tell("over"));
}

export async function datastar(url, tell, key) {
  const id = key.replaceAll(",", "-");
  const before = encodeURIComponent(`mode append\nselector #${id}\nelements `);
  const get = `@get('${url}&event=datastar-patch-elements&before=${before}')`;
  place(`<p class="out" id="${id}"></p><i data-init="${get}"></i>`, tell);
  document.addEventListener("datastar-fetch", ({ detail }) => {
    if (detail.el.dataset.init === get && detail.type === "finished") tell("over");
  });
  await import("/datastar.js");
}
