// htmx's streams over the connection of an SSEMux (docs/frameworks.md). htmx 1.9 and 2 ask a hook for their EventSource;
// htmx 4 gets an extension that takes the place of its own, `hx-sse.js`.

import { hold, listen, Subscription } from "./subscription.js";

const OWN = ["reset", "stop", "replaced", "degraded", "restored"].map((name) => "ssemux." + name);

/** Have streams whose URL is that of the SSEMux read over its connection; all other URLs get streams of their own. */
export function connectHtmx(htmx, mux) {
  if (htmx.registerExtension) return registerExtension(htmx, mux);
  const create = htmx.createEventSource ?? ((url) => new EventSource(url, { withCredentials: true }));
  htmx.createEventSource = (url) => (isServedBy(mux, url) ? new SharedSource(mux, url) : create(url));
}

function resolve(url) {
  return new URL(url, document.baseURI);
}

function isServedBy(mux, url) {
  const [its, other] = [new URL(mux.url), resolve(url)];
  return its.origin === other.origin && its.pathname === other.pathname;
}

function readChannels(url) {
  return new Set(resolve(url).searchParams.getAll("channel"));
}

/** Call `message` with each event that a stream of this URL would bring; return the function that ends this. */
function listenToURL(mux, url, { message, own }) {
  const names = readChannels(url);
  const subscriptions = [...names].map((name) => new Subscription(mux, name));
  const isMeant = ({ channels = ["*"] }) => channels.some((name) => names.has(name) || /^(\*$|user:)/.test(name));
  const emitOwn = (event) => (detail) => isMeant(detail) && own(event, detail);
  const stops = [
    ...[mux, ...subscriptions].map((source) => listen(source, "*", message)),
    ...subscriptions.map(hold),
    ...OWN.map((event) => listen(mux, event, emitOwn(event))),
  ];
  return () => stops.forEach((stop) => stop());
}

/** What htmx 1.9 and 2 use of an EventSource. */
class SharedSource extends EventTarget {
  readyState = EventSource.CONNECTING;
  onopen = null;
  onerror = null;
  onmessage = null;
  #stops = [];

  constructor(mux, url) {
    super();
    this.url = resolve(url).href;
    if (mux.state === "closed") return this.close();
    const onEvent = {
      message: ({ event, data, id }) => this.#fire(new MessageEvent(event, { data, lastEventId: id })),
      own: (event, detail) => this.#fire(new MessageEvent(event, { data: JSON.stringify(detail) })),
    };
    this.#stops = [
      listenToURL(mux, url, onEvent),
      listen(mux, "ssemux.open", () => this.#open()),
      listen(mux, "ssemux.connecting", () => this.#reconnect()),
      listen(mux, "ssemux.error", ({ channel }) => readChannels(url).has(channel) && this.#fail()),
      listen(mux, "ssemux.closed", () => this.close()),
    ];
    if (mux.state === "open") queueMicrotask(() => this.#open());
  }

  close() {
    this.readyState = EventSource.CLOSED;
    for (const stop of this.#stops.splice(0)) stop();
  }

  #open() {
    if (this.readyState !== EventSource.CONNECTING) return;
    this.readyState = EventSource.OPEN;
    this.#fire(new Event("open"));
  }

  #reconnect() {
    this.readyState = EventSource.CONNECTING;
    this.#fail();
  }

  /** htmx connects again if a stream is closed at an error. This one is not: the SSEMux connects again by itself. */
  #fail() {
    this.#fire(new Event("error"));
  }

  #fire(event) {
    this["on" + event.type]?.(event);
    this.dispatchEvent(event);
  }
}

/** Register the extension of htmx 4 that reads the elements with `hx-sse:connect`. */
function registerExtension(htmx, mux) {
  let api;
  const streams = new Map(); // by element: the function that ends its stream
  const attribute = (element, name) => api.attributeValue(element, "hx-sse:" + name);

  const disconnect = (element, reason) => {
    streams.get(element)?.();
    if (streams.delete(element)) api.triggerHtmxEvent(element, "htmx:sse:close", { reason });
  };
  const connect = (element, url) => {
    if (streams.has(element)) return;
    let work = Promise.resolve(); // one swap after the other
    const take = (message) => (work = work.then(() => streams.has(element) && takeMessage(element, message)));
    const message = ({ event, data, id = "" }) => take({ event: event === "message" ? "" : event, data, id });
    const own = (event, detail) => take({ event, data: JSON.stringify(detail), id: "" });
    streams.set(element, listenToURL(mux, url, { message, own }));
  };
  const takeMessage = async (element, message) => {
    const detail = { message, cancelled: false };
    if (!api.triggerHtmxEvent(element, "htmx:sse:before:message", detail) || detail.cancelled) return;
    if (message.event) htmx.trigger(element, message.event, { data: message.data, id: message.id });
    else await swap(element, message.data);
    api.triggerHtmxEvent(element, "htmx:sse:after:message", detail);
    if (message.event && message.event === attribute(element, "close")) disconnect(element, "message");
  };
  const swap = (element, text) => {
    const context = api.createRequestContext(element, {});
    return htmx.swap({ ...context, text, swap: context.swap + " swapEmpty:false" });
  };
  const processElement = (element) => {
    const url = attribute(element, "connect");
    if (!url || streams.has(element)) return;
    if (!isServedBy(mux, url)) throw new Error(`${url} is not at ${mux.url}: such streams need htmx's own extension`);
    api.onTrigger(element, api.attributeValue(element, "hx-trigger") || "load", () => connect(element, url));
  };

  const isRegistered = htmx.registerExtension("sse", {
    init: (internal) => (api = internal),
    htmx_after_process: (element) => {
      const selector = ["hx-", htmx.config.prefix || "hx-"].map((prefix) => `[${prefix}sse\\:connect]`).join();
      for (const one of [element, ...element.querySelectorAll(selector)]) processElement(one);
    },
    htmx_before_cleanup: (element) => disconnect(element, "cleanup"),
  });
  if (isRegistered === false) throw new Error('htmx refuses the extension "sse": is hx-sse.js loaded too?');
}
