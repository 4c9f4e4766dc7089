/** What the hooks for React and Vue share. A page imports it from neither. */

import type { Channel, Detail, EventName, EventsOf, SSEMux } from "./ssemux.js";

/** A channel that is read while a component listens to it, or holds it. */
export class Subscription<Own = any> {
  private constructor();
  /** The client that reads it. */
  readonly mux: SSEMux<any>;
  /** The channel's name. */
  readonly name: string;
  /** Only for the compiler: the events of the channel. */
  readonly events?: Own;
}

/** What a component can listen to. */
export type Source = SSEMux<any> | Channel<any> | Subscription<any>;

/** The map of a source's events. */
export type SourceEvents<From> =
  From extends Subscription<infer Own>
    ? Own
    : From extends SSEMux<infer Events>
      ? EventsOf<Events, "*">
      : From extends Channel<infer Own>
        ? Own
        : never;

/** The names that can be listened to on a source. */
export type SourceEventName<From> = EventName<SourceEvents<From>>;
/** What a listener of a source's event is called with. */
export type SourceDetail<From, Name extends string> = Detail<SourceEvents<From>, Name>;
