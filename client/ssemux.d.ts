/** The types of ssemux.js. What it does: docs/client.md of flask_ssemux. */

/** An event that the application published. */
export interface Message {
  /** Its name; `message` if it was published without one. */
  readonly event: string;
  /** Its data, as text. */
  readonly data: string;
  /** Its data, read as JSON. */
  readonly json: any;
  /** Its place in the history; what a snapshot yields may have none. */
  readonly id: string | undefined;
  /** Undefined for the user's own events and everyone's. */
  readonly channel: string | undefined;
}

export type State = "connecting" | "open" | "stale" | "closed";

/** How events come; `poll` where something on the way holds streams back. */
export type Transport = "stream" | "poll";

/** It changed: one of the two. */
export interface Change {
  readonly state: State;
  readonly transport: Transport;
}

/** The past of these channels is lost: load their state anew. */
export interface Reset {
  readonly channels: string[];
  readonly reason: "history" | "epoch" | "future" | "unknown";
}

/** What went wrong. */
export interface Problem {
  readonly message: string;
  /** Of the answer, if there was one. */
  readonly status?: number;
  /** The channel that may not be read, if it is about one. */
  readonly channel?: string;
  /** Whether the client has stopped for it; else it tries again. */
  readonly final: boolean;
}

/** The client's own events. */
export interface OwnEvents {
  "ssemux.connecting": Change;
  "ssemux.open": Change;
  "ssemux.stale": Change;
  "ssemux.closed": Change;
  "ssemux.error": Problem;
  "ssemux.reset": Reset;
  /** The server ends it for good. */
  "ssemux.stop": { readonly reason: string };
  /** A newer stream of the same user took its place, for good. */
  "ssemux.replaced": { readonly reason: string };
  "ssemux.degraded": {};
  "ssemux.restored": {};
}

type Detail<Name extends string> = Name extends keyof OwnEvents ? OwnEvents[Name] : Message;

export interface Channel {
  readonly name: string;
  on<Name extends string>(event: Name, listener: (detail: Detail<Name>) => void): this;
  off<Name extends string>(event: Name, listener: (detail: Detail<Name>) => void): this;
  /** Read it no more, whoever in this page does. */
  close(): void;
}

export interface Options {
  /** Milliseconds without a byte after which a connection is given up, 120000; what the server says wins. */
  timeout?: number;
  /** Headers of each request, or what makes them. */
  headers?: Record<string, string> | (() => Record<string, string> | Promise<Record<string, string>>);
  /** As of `fetch`; `same-origin`. */
  credentials?: RequestCredentials;
  /** In place of the browser's. */
  fetch?: typeof fetch;
  /** The cursor that the page was rendered at: `flask_ssemux.cursor()`. */
  lastEventId?: string;
  /** One connection for all tabs of the browser, true; not with `headers` or `fetch`, unless `user` is given. */
  shared?: boolean;
  /** Whose tab it is: tabs of different users share nothing. */
  user?: string | number;
}

export class SSEMux {
  constructor(url: string | URL, options?: Options);
  readonly url: string;
  readonly state: State;
  readonly transport: Transport;
  /** The channel of this name; it is read from now on. */
  channel(name: string): Channel;
  on<Name extends string>(event: Name, listener: (detail: Detail<Name>) => void): this;
  off<Name extends string>(event: Name, listener: (detail: Detail<Name>) => void): this;
  /** End it; for good. */
  close(): void;
}
