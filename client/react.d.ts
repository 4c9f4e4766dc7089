/** The types of the hooks for React. Their documentation is docs/frameworks.md of flask_ssemux. */

import type { AnyEvents, ChannelName, Change, EventsOf, Leadership, Options, SSEMux } from "./ssemux.js";
import type { Source, SourceDetail, SourceEventName, Subscription } from "./subscription.js";

export type { Subscription };

type Nothing = undefined | null | false | "";

/** An SSEMux that lives as long as the component: undefined until it is mounted, on a server, and without a URL. */
export function useSSEMux<Events extends Record<keyof Events, object> = AnyEvents>(
  url: string | URL | Nothing,
  options?: Options,
): SSEMux<Events> | undefined;

/** Read a channel while the component is mounted; undefined without an SSEMux or a name. */
export function useChannel<Events extends Record<keyof Events, object>, Name extends ChannelName<Events>>(
  mux: SSEMux<Events>,
  name: Name,
): Subscription<EventsOf<Events, Name>>;
export function useChannel<Events extends Record<keyof Events, object>, Name extends ChannelName<Events>>(
  mux: SSEMux<Events> | Nothing,
  name: Name | Nothing,
): Subscription<EventsOf<Events, Name>> | undefined;

/** Call the listener with each event of this name while the component is mounted. */
export function useEvent<From extends Source, Name extends SourceEventName<From>>(
  source: From | undefined,
  event: Name,
  listener: (detail: SourceDetail<From, Name>) => void,
): void;
/** Return the last event of this name; undefined before the first one. */
export function useEvent<From extends Source, Name extends SourceEventName<From>>(
  source: From | undefined,
  event: Name,
): SourceDetail<From, Name> | undefined;

/** The state, the transport and the leadership of an SSEMux. */
export function useConnection(mux: SSEMux<any> | undefined): Change & Leadership;
