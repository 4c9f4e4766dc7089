// The browser's client (docs/client.md). `make client` builds flask_ssemux/static/ssemux.js from it.
//
// request.js reads frames from the response, link.js keeps a stream open, tabs.js shares this stream among the tabs of a
// browser, and mux.js gives the page each event once. run.js reads a run. ssemux-poll.js is loaded only if something holds
// streams back.

export { SSEMux } from "./mux.js";
export { Run } from "./run.js";
export { pause } from "./link.js";
export { Parser } from "./parser.js";
