// Datastar's patch events over the connection of an SSEMux (docs/frameworks.md). Datastar applies what its event
// "datastar-fetch" carries, so this file only turns messages into such events.

import { listen, Subscription } from "./subscription.js";

/**
 * Apply the user's and everyone's Datastar events at once, and those of channels by the attribute `data-ssemux`, whose value
 * is an expression: the name of a channel, or an array of names.
 *
 * The first argument is Datastar's module. However many elements name a channel, each of its events is applied once.
 */
export function connectDatastar({ attribute, effect }, mux) {
  const channels = new Map(); // by name: how many elements read the channel, and the function that stops
  const readChannel = (name, el) => {
    const channel = channels.get(name) ?? { count: 0, stop: listenForPatches(new Subscription(mux, name), el) };
    channels.set(name, channel);
    channel.count += 1;
    return () => {
      channel.count -= 1;
      if (channel.count) return;
      channels.delete(name);
      channel.stop();
    };
  };
  listenForPatches(mux, document.documentElement);
  attribute({
    name: "ssemux",
    requirement: { key: "denied", value: "must" },
    returnsValue: true,
    apply({ el, rx }) {
      let stops = [];
      const read = (names) => {
        const former = stops;
        stops = names.map((name) => readChannel(name, el));
        for (const stop of former) stop(); // last, so that a channel of both lists is not left
      };
      const end = effect(() => read([rx()].flat().filter(Boolean)));
      return () => {
        end();
        read([]);
      };
    },
  });
}

function listenForPatches(source, el) {
  return listen(source, "*", ({ event, data }) => event.startsWith("datastar-") && applyPatch(event, data, el));
}

function applyPatch(type, data, el) {
  const detail = { type, el, argsRaw: parseArguments(data) };
  document.dispatchEvent(new CustomEvent("datastar-fetch", { detail }));
}

/** Return the arguments of an event: each line begins with a name, and lines of one name belong together. */
export function parseArguments(data) {
  const found = {};
  for (const line of data.split("\n")) {
    const cut = line.indexOf(" ");
    (found[line.slice(0, cut)] ??= []).push(line.slice(cut + 1));
  }
  return Object.fromEntries(Object.entries(found).map(([name, lines]) => [name, lines.join("\n")]));
}
