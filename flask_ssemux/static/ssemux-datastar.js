// Built from client/src by `make client`. Documentation: docs/frameworks.md

// client/src/subscription.js
var Subscription = class {
  constructor(mux, name) {
    Object.assign(this, { mux, name });
  }
};
function listen(source, event, listener) {
  const isSubscription = source instanceof Subscription;
  const emitter = isSubscription ? source.mux.channel(source.name) : source;
  emitter.on(event, listener);
  return () => {
    emitter.off(event, listener);
    if (isSubscription) setTimeout(() => emitter.isIdle && emitter.close());
  };
}

// client/src/datastar.js
function connectDatastar({ attribute, effect }, mux) {
  const channels = /* @__PURE__ */ new Map();
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
        for (const stop of former) stop();
      };
      const end = effect(() => read([rx()].flat().filter(Boolean)));
      return () => {
        end();
        read([]);
      };
    }
  });
}
function listenForPatches(source, el) {
  return listen(source, "*", ({ event, data }) => event.startsWith("datastar-") && applyPatch(event, data, el));
}
function applyPatch(type, data, el) {
  const detail = { type, el, argsRaw: parseArguments(data) };
  document.dispatchEvent(new CustomEvent("datastar-fetch", { detail }));
}
function parseArguments(data) {
  const found = {};
  for (const line of data.split("\n")) {
    const cut = line.indexOf(" ");
    (found[line.slice(0, cut)] ??= []).push(line.slice(cut + 1));
  }
  return Object.fromEntries(Object.entries(found).map(([name, lines]) => [name, lines.join("\n")]));
}
export {
  connectDatastar,
  parseArguments
};
