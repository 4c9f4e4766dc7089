/** The types of the adapter for Datastar. Its documentation is docs/frameworks.md of flask_ssemux. */

import type { SSEMux } from "./ssemux.js";

/** What the adapter uses of Datastar's module: `import * as datastar from "/static/datastar.js"`. */
export interface Datastar {
  /** Registers the attribute `data-ssemux`. */
  readonly attribute: (plugin: any) => void;
  /** Runs a function again whenever a signal that it read has changed. */
  readonly effect: (work: () => void) => () => void;
}

/** Apply Datastar's events that the SSEMux receives, and those of the channels that `data-ssemux` names. */
export function connectDatastar(datastar: Datastar, mux: SSEMux<any>): void;
