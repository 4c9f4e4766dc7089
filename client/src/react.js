// Hooks for React 18 and later (docs/frameworks.md). They subscribe in effects only, so a render that React throws away, the
// server, and the second mount of StrictMode leave nothing behind.

import { useCallback, useEffect, useInsertionEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";

import { SSEMux } from "./ssemux.js";
import { hold, listen, readConnection, Subscription, watchConnection } from "./subscription.js";

/** Return an SSEMux that lives as long as the component: undefined until it is mounted, and while there is no URL. */
export function useSSEMux(url, options = {}) {
  const [mux, setMux] = useState();
  const latest = useLatest(options);
  useEffect(() => {
    if (!url) return;
    const made = new SSEMux(url, latest.current);
    setMux(made);
    return () => {
      made.close();
      setMux(undefined);
    };
  }, [String(url ?? ""), options.user, latest]);
  return mux;
}

/** Read a channel while the component is mounted. Without an SSEMux or a name, nothing is read. */
export function useChannel(mux, name) {
  const channel = useMemo(() => (mux && name ? new Subscription(mux, name) : undefined), [mux, name]);
  useEffect(() => channel && hold(channel), [channel]);
  return channel;
}

/**
 * Call the listener with each event of this name, of a channel or of an SSEMux; it is always the listener of the last render.
 * Without a listener, return the last event, with which the component is rendered again.
 */
export function useEvent(source, event, listener) {
  const [last, setLast] = useState();
  const latest = useLatest(listener);
  useEffect(() => {
    if (!source) return;
    const take = (detail) => (latest.current ? latest.current(detail) : setLast({ source, event, detail }));
    return listen(source, event, take);
  }, [source, event, latest]);
  return last && last.source === source && last.event === event ? last.detail : undefined;
}

/** Return the state, the transport and the leadership of an SSEMux; the component is rendered again when one changes. */
export function useConnection(mux) {
  const subscribe = useCallback((changed) => watchConnection(mux, changed), [mux]);
  const text = useSyncExternalStore(
    subscribe,
    () => JSON.stringify(readConnection(mux)),
    () => JSON.stringify(readConnection()),
  );
  return useMemo(() => JSON.parse(text), [text]);
}

function useLatest(value) {
  const latest = useRef(value);
  useInsertionEffect(() => {
    latest.current = value;
  });
  return latest;
}
