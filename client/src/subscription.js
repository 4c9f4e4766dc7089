// Subscription: a channel that is read while somebody listens to it. The hooks and adapters for frameworks use it. This file
// knows no framework, and opens no connection.

/** A channel by its name. Making one subscribes to nothing: `listen` does. */
export class Subscription {
  constructor(mux, name) {
    Object.assign(this, { mux, name });
  }
}

/**
 * Add a listener to a Subscription, to an SSEMux or to one of its channels; return the function that removes it.
 *
 * The channel of a Subscription is closed when nobody listens to it. This is decided in a later task, so a component that is
 * unmounted and mounted again, or replaced by another one, does not leave the channel.
 */
export function listen(source, event, listener) {
  const isSubscription = source instanceof Subscription;
  const emitter = isSubscription ? source.mux.channel(source.name) : source;
  emitter.on(event, listener);
  return () => {
    emitter.off(event, listener);
    if (isSubscription) setTimeout(() => emitter.isIdle && emitter.close());
  };
}

/** Read the channel of a Subscription although nobody listens yet; return the function that ends this. */
export function hold(subscription) {
  return listen(subscription, "ssemux.held", () => {}); // nobody emits this event
}

/** Return what the connection of an SSEMux is like. Without an SSEMux, as on a server, it is that of a new one. */
export function readConnection(mux) {
  const { state = "connecting", transport = "stream", leader = false } = mux ?? {};
  return { state, transport, leader };
}

/** Call the function at each change of `readConnection`; return the function that ends this. */
export function watchConnection(mux, changed) {
  const events = ["connecting", "open", "stale", "closed", "leader"].map((name) => "ssemux." + name);
  for (const event of mux ? events : []) mux.on(event, changed);
  return () => events.forEach((event) => mux?.off(event, changed));
}
