// The browser's client, as the server serves it (docs/client.md); the build makes flask_ssemux/static/ssemux.js of it.
//
// A frame's way: request.js reads it, link.js keeps a stream open, tabs.js shares that stream among the browser's tabs, and
// mux.js gives the page each event once. ssemux-poll.js is loaded only where streams are held back.

export { SSEMux } from "./mux.js";
export { pause } from "./link.js";
export { Parser } from "./parser.js";
