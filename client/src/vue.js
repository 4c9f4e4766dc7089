// Composables for Vue 3.3 and later (docs/frameworks.md). Each argument may be a value, a ref or a getter. What they
// subscribe to ends with the component or the effect scope that called them.

import { computed, markRaw, shallowReadonly, shallowRef, toRaw, toValue, watch } from "vue";

import { SSEMux } from "./ssemux.js";
import { hold, listen, readConnection, Subscription, watchConnection } from "./subscription.js";

/** Return a ref to an SSEMux that lives as long as the component: undefined on a server, and while there is no URL. */
export function useSSEMux(url, options = {}) {
  const mux = shallowRef();
  const open = ([where], _, onCleanup) => {
    if (!where || !globalThis.document) return;
    const made = markRaw(new SSEMux(where, toRaw(toValue(options))));
    mux.value = made;
    onCleanup(() => {
      made.close();
      mux.value = undefined;
    });
  };
  watch([() => toValue(url), () => toValue(options).user], open, { immediate: true });
  return shallowReadonly(mux);
}

/** Read a channel; return a ref to it. Without an SSEMux or a name, nothing is read. */
export function useChannel(mux, name) {
  const channel = computed(() => {
    const [its, wanted] = [readRaw(mux), toValue(name)];
    return its && wanted ? markRaw(new Subscription(its, wanted)) : undefined;
  });
  watch(channel, (found, _, onCleanup) => found && onCleanup(hold(found)), { immediate: true });
  return channel;
}

/** Call the listener, if there is one, with each event of this name; return a ref to the last event. */
export function useEvent(source, event, listener) {
  const last = shallowRef();
  const subscribe = ([found, name], _, onCleanup) => {
    last.value = undefined;
    if (!found) return;
    const take = (detail) => {
      last.value = detail;
      listener?.(detail);
    };
    onCleanup(listen(found, name, take));
  };
  watch([() => readRaw(source), () => toValue(event)], subscribe, { immediate: true });
  return shallowReadonly(last);
}

/** Return a ref to the state, the transport and the leadership of an SSEMux. */
export function useConnection(mux) {
  const connection = shallowRef(readConnection());
  const follow = (found, _, onCleanup) => {
    const read = () => (connection.value = readConnection(found));
    read();
    onCleanup(watchConnection(found, read));
  };
  watch(() => readRaw(mux), follow, { immediate: true });
  return shallowReadonly(connection);
}

/** Return a value without Vue's proxies, through which the private members of an SSEMux cannot be reached. */
function readRaw(value) {
  return toRaw(toValue(value));
}
