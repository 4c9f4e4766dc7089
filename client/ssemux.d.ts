/** The types of ssemux.js. Its documentation is docs/client.md of flask_ssemux. */

/**
 * The events of an application, for code that gives none: every channel and every event may occur.
 *
 * Code that wants to be checked gives its own map: `new SSEMux<Events>(url)`. The keys of `Events` are channels, or patterns
 * such as `jobs:${string}`; "*" stands for the user's own events and everyone's, which the SSEMux emits. Below each is the
 * type of the data of each event, as JSON.
 */
export interface AnyEvents {
  /** Any channel, with any events. */
  [channel: string]: { [event: string]: any };
}

/** The names of the channels of a map; or their patterns. */
export type ChannelName<Events> = Exclude<keyof Events & string, "*">;

/** What a map says of the events of one channel; of "*" it may say nothing. */
export type EventsOf<Events, Name extends string> = Name extends keyof Events ? Events[Name] : {};

/** The names that can be listened to: the events of the map, "*" for all of them, and the client's own. */
export type EventName<Own> = (keyof Own & string) | "*" | keyof OwnEvents;

/** What a listener of this event is called with. */
export type Detail<Own, Name extends string> = Name extends keyof OwnEvents
  ? OwnEvents[Name]
  : Name extends "*"
    ? AnyMessage<Own>
    : Name extends keyof Own
      ? Message<Own[Name], string extends keyof Own ? string : Name>
      : never;

/** One of the messages of a map; `event` tells which. */
export type AnyMessage<Own> = {
  [Name in keyof Own & string]: Message<Own[Name], Name>;
}[keyof Own & string];

/** An event that the application published. */
export interface Message<Data = any, Name extends string = string> {
  /** The event's name; `message` if it was published without one. */
  readonly event: Name;
  /** The event's data, as text. */
  readonly data: string;
  /** The event's data, parsed as JSON. */
  readonly json: Data;
  /** The event's cursor; events of a snapshot may have none. */
  readonly id: string | undefined;
  /** The event's channel; undefined for the user's own events and everyone's. */
  readonly channel: string | undefined;
}

/** What the connection does; `stale` is silent for two heartbeat intervals. */
export type State = "connecting" | "open" | "stale" | "closed";

/** How events arrive: `poll` where something on the way holds streams back. */
export type Transport = "stream" | "poll";

/** The client's state or transport changed. */
export interface Change {
  /** The state from now on. */
  readonly state: State;
  /** The transport from now on. */
  readonly transport: Transport;
}

/** This tab became the leader, which has the connection, or is no longer the leader. */
export interface Leadership {
  /** Whether this tab has the connection from now on. */
  readonly leader: boolean;
}

/** Events of these channels were lost: reload their state. */
export interface Reset {
  /** The names of the channels; `*` and `user:…` stand for the events of the SSEMux itself. */
  readonly channels: string[];
  /** Why: see docs/reference/wire.md#reasons-of-a-reset. */
  readonly reason: "history" | "epoch" | "future" | "unknown";
}

/** What went wrong. */
export interface Problem {
  /** A sentence for logs. */
  readonly message: string;
  /** The HTTP status of the answer, if there was one. */
  readonly status?: number;
  /** The channel that may not be read, if the problem concerns a single channel. */
  readonly channel?: string;
  /** Whether the client has stopped; otherwise it tries again. */
  readonly final: boolean;
}

/** The client's own events. */
export interface OwnEvents {
  /** The client connects, or connects again. */
  "ssemux.connecting": Change;
  /** The stream is open. */
  "ssemux.open": Change;
  /** No byte came for two heartbeat intervals. */
  "ssemux.stale": Change;
  /** The client is closed, and does not connect again. */
  "ssemux.closed": Change;
  /** This tab became the leader, or is no longer the leader. */
  "ssemux.leader": Leadership;
  /** Something went wrong; the client tries again unless it is final. */
  "ssemux.error": Problem;
  /** Events were lost: the page should load its state again. */
  "ssemux.reset": Reset;
  /** The server ended the stream for good. */
  "ssemux.stop": { readonly reason: string };
  /** A newer stream of the same user replaced this one for good. */
  "ssemux.replaced": { readonly reason: string };
  /** The server lost its broker: events are late, none is lost. */
  "ssemux.degraded": {};
  /** The server has its broker again. */
  "ssemux.restored": {};
}

/** A channel that the client reads. */
export interface Channel<Own = AnyEvents[string]> {
  /** The channel's name. */
  readonly name: string;
  /** Add a listener. `"*"` stands for every event that the application published. */
  on<Name extends EventName<Own>>(event: Name, listener: (detail: Detail<Own, Name>) => void): this;
  /** Remove a listener. */
  off<Name extends EventName<Own>>(event: Name, listener: (detail: Detail<Own, Name>) => void): this;
  /** Unsubscribe from the channel, for all code of this page. */
  close(): void;
}

/** How the client connects. */
export interface Options {
  /** Milliseconds without a byte after which a connection is given up, 120000; a value from the server takes precedence. */
  timeout?: number;
  /** The headers of each request, or a function that returns them. */
  headers?: Record<string, string> | (() => Record<string, string> | Promise<Record<string, string>>);
  /** The `credentials` option of `fetch`; `same-origin`. */
  credentials?: RequestCredentials;
  /** A function to use instead of the browser's `fetch`. */
  fetch?: typeof fetch;
  /** The cursor that the page was rendered with: `flask_ssemux.cursor()`. */
  lastEventId?: string;
  /** Share one connection among all tabs, true; with `headers` or `fetch`, tabs share only if `user` is set. */
  shared?: boolean;
  /** The user of the tab: tabs of different users share nothing. */
  user?: string | number;
}

/** How a run ended: see docs/runs.md. */
export type RunEnd = "done" | "failed" | "cancelled" | "lost";

/** Where a run is read, and what its connection does; `closed` after `close()` or an error that is final. */
export interface RunChange {
  /** The state from now on. */
  readonly state: Exclude<State, "closed"> | RunEnd | "closed";
  /** Where the run is read: keep it, and a page that was reloaded can go on. */
  readonly url: string | undefined;
}

/** The client's own events of a run. */
export interface OwnRunEvents {
  /** The client connects, or connects again. */
  "ssemux.connecting": RunChange;
  /** The run can be read, and its URL is known. */
  "ssemux.open": RunChange;
  /** No byte came for two heartbeat intervals. */
  "ssemux.stale": RunChange;
  /** The generator came to its end. */
  "ssemux.done": RunChange;
  /** The generator raised an error. */
  "ssemux.failed": RunChange;
  /** The run was cancelled. */
  "ssemux.cancelled": RunChange;
  /** The process that executed the run died. */
  "ssemux.lost": RunChange;
  /** The client reads no further. */
  "ssemux.closed": RunChange;
  /** The end of the run, however it ended. */
  "ssemux.run": { readonly state: RunEnd; readonly error?: string };
  /** Something went wrong; the client tries again unless it is final. */
  "ssemux.error": Problem;
  /** The history no longer has a part of the run. */
  "ssemux.reset": Reset;
  /** The server ended the stream for good; the run goes on. */
  "ssemux.stop": { readonly reason: string };
  /** A newer stream of the same user replaced this one for good; the run goes on. */
  "ssemux.replaced": { readonly reason: string };
  /** The server lost its broker: events are late, none is lost. */
  "ssemux.degraded": {};
  /** The server has its broker again. */
  "ssemux.restored": {};
}

type RunDetail<Name extends string> = Name extends keyof OwnRunEvents ? OwnRunEvents[Name] : Message;

/** How a run is started or read. */
export interface RunOptions extends Omit<Options, "shared" | "user"> {
  /** `GET`; another method starts a run, and is sent once. */
  method?: string;
  /** The body of the request that starts the run. */
  body?: BodyInit;
}

/** A run of the server. Iterate over its messages, or listen to them. */
export class Run implements AsyncIterable<Message> {
  /** Read the run at this URL, or start one by a POST. */
  constructor(url: string | URL, options?: RunOptions);
  /** Where the run is read; undefined until a POST is answered. */
  readonly url: string | undefined;
  /** The run's id, for `cancel_run`; undefined until a POST is answered. */
  readonly id: string | undefined;
  /** How the run ended; until then, what the connection does. */
  readonly state: RunChange["state"];
  /** Add a listener for the run's messages, and for the client's own events. */
  on<Name extends string>(event: Name, listener: (detail: RunDetail<Name>) => void): this;
  /** Remove a listener. */
  off<Name extends string>(event: Name, listener: (detail: RunDetail<Name>) => void): this;
  /** Ends after the run's last message; throws if the run failed or was lost, or if it cannot be read. */
  [Symbol.asyncIterator](): AsyncIterator<Message>;
  /** Stop reading. The run itself goes on. */
  close(): void;
}

/** The client of one application: its channels, and the connection that they share. `Events` types them, if it is given. */
export class SSEMux<Events extends Record<keyof Events, object> = AnyEvents> {
  /** Connect at once; the URL is `SSEMUX_URL`. */
  constructor(url: string | URL, options?: Options);
  /** The whole URL. */
  readonly url: string;
  /** What the connection does. */
  readonly state: State;
  /** How events arrive. */
  readonly transport: Transport;
  /** Whether this tab has the connection, for itself or for all tabs. */
  readonly leader: boolean;
  /** Subscribe to the channel of this name; returns the same object for the same name. */
  channel<Name extends ChannelName<Events>>(name: Name): Channel<EventsOf<Events, Name>>;
  /** Read the run at this URL, or start one by a POST, with the options of this client. */
  run(url: string | URL, options?: RunOptions): Run;
  /** Add a listener for the user's own events, everyone's, and the client's own. */
  on<Name extends EventName<EventsOf<Events, "*">>>(
    event: Name,
    listener: (detail: Detail<EventsOf<Events, "*">, Name>) => void,
  ): this;
  /** Remove a listener. */
  off<Name extends EventName<EventsOf<Events, "*">>>(
    event: Name,
    listener: (detail: Detail<EventsOf<Events, "*">, Name>) => void,
  ): this;
  /** Close the client for good. */
  close(): void;
}
