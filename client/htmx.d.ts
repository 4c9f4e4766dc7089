/** The types of the adapter for htmx. Its documentation is docs/frameworks.md of flask_ssemux. */

import type { SSEMux } from "./ssemux.js";

/**
 * Have htmx read its streams over the connection of this SSEMux, if their URL is that of the SSEMux.
 *
 * The first argument is the object `htmx` of version 1.9, 2 or 4. Call it before htmx processes the page. htmx 4 must not
 * load its own extension `hx-sse.js`, whose place this one takes: an Error says so.
 */
export function connectHtmx(htmx: object, mux: SSEMux<any>): void;
