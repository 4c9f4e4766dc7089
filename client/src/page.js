// What browsers say about a page: the network is back, the page is visible again, suspended, or resumed.

/** Call `wake(mayBeDead)`, `suspend()` and `resume()`, which returns whether the page was suspended, until `signal` aborts. */
export function watchPage({ wake, suspend, resume }, signal) {
  const { document } = globalThis;
  const on = (where, event, act) => where?.addEventListener?.(event, act, { signal });
  on(globalThis, "online", () => wake(true));
  on(document, "visibilitychange", () => document.hidden || resume() || wake());
  on(globalThis, "pagehide", suspend);
  on(document, "freeze", suspend);
  on(globalThis, "pageshow", resume);
  on(document, "resume", resume);
}

/** Return the URL as `EventSource` resolves it: against the document's base URL. */
export function resolveURL(url) {
  return new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href).href;
}
