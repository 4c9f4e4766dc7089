/** The types of the composables for Vue. Their documentation is docs/frameworks.md of flask_ssemux. */

import type { ComputedRef, MaybeRefOrGetter, ShallowRef } from "vue";

import type { AnyEvents, ChannelName, Change, EventsOf, Leadership, Options, SSEMux } from "./ssemux.js";
import type { Source, SourceDetail, SourceEventName, Subscription } from "./subscription.js";

export type { Subscription };

type Nothing = undefined | null | false | "";

/** An SSEMux that lives as long as the component: undefined on a server, and without a URL. */
export function useSSEMux<Events extends Record<keyof Events, object> = AnyEvents>(
  url: MaybeRefOrGetter<string | URL | Nothing>,
  options?: MaybeRefOrGetter<Options>,
): Readonly<ShallowRef<SSEMux<Events> | undefined>>;

/** Read a channel while the component is mounted; the ref is undefined without an SSEMux or a name. */
export function useChannel<Events extends Record<keyof Events, object>, Name extends ChannelName<Events>>(
  mux: MaybeRefOrGetter<SSEMux<Events> | Nothing>,
  name: MaybeRefOrGetter<Name | Nothing>,
): ComputedRef<Subscription<EventsOf<Events, Name>> | undefined>;

/** Call the listener, if there is one, with each event of this name; return a ref to the last event. */
export function useEvent<From extends Source, Name extends SourceEventName<From>>(
  source: MaybeRefOrGetter<From | undefined>,
  event: MaybeRefOrGetter<Name>,
  listener?: (detail: SourceDetail<From, Name>) => void,
): Readonly<ShallowRef<SourceDetail<From, Name> | undefined>>;

/** A ref to the state, the transport and the leadership of an SSEMux. */
export function useConnection(
  mux: MaybeRefOrGetter<SSEMux<any> | undefined>,
): Readonly<ShallowRef<Change & Leadership>>;
