"""A page on an origin of its own that reads streams of another origin, in the ways of docs/identity.md.

Its query: `events` (the other origin), `name` (the user who logs in there), `ways` (separated by commas): `native`,
`polyfill`, `fetch` (fetch-event-source) and `mux` send the cookie, `native-ticket` and `mux-ticket` a ticket; `run`
starts a run by POST, and reads it again at its URL. What they receive goes to `window.report`.
"""

from __future__ import annotations

from flask import Flask, Response

from tests.apps.npm import npm

HTML = """<!doctype html>
<meta charset="utf-8">
<link rel="icon" href="data:,">
<script type="module">
const query = new URLSearchParams(location.search);
const [base, name, ways] = ["events", "name", "ways"].map((key) => query.get(key));
const tell = (who, what, more) => window.report({ who, what, at: Date.now() / 1000, ...more });
const post = (path, more) => fetch(base + path, { method: "POST", credentials: "include", ...more });
const login = await post("/login", { body: new URLSearchParams({ name }) }).catch((error) => tell("page", "refused"));
const token = login?.status === 200 ? (await login.json()).token : undefined;
const headers = { Authorization: `Bearer ${token}` };
const newTicket = async () => (await (await post("/ticket", { headers, credentials: "omit" })).json()).ticket;

function native(who, url, again) {
  const source = new EventSource(url, { withCredentials: !again });
  source.onopen = () => tell(who, "open");
  source.onmessage = (event) => tell(who, "event", { data: event.data, id: (source.last = event.lastEventId) });
  source.onerror = () => {
    tell(who, "error", { state: source.readyState });
    if (again && source.readyState === EventSource.CLOSED) setTimeout(again, 200, source.last);
  };
}

async function polyfill(who, url) {
  await import("/npm/event-source-polyfill/src/eventsource.js");
  const source = new EventSourcePolyfill(url, { withCredentials: true });
  source.onopen = () => tell(who, "open");
  source.onmessage = (event) => tell(who, "event", { data: event.data, id: event.lastEventId });
}

async function fetched(who, url) {
  const { fetchEventSource } = await import("/npm/@microsoft/fetch-event-source/lib/esm/fetch.js");
  const onopen = async () => tell(who, "open");
  const onmessage = ({ event, data, id }) => data && !event && tell(who, "event", { data, id });
  const onclose = () => { throw new Error("the stream ended"); };
  await fetchEventSource(url, { credentials: "include", onopen, onmessage, onclose });
}

async function mux(who, options) {
  const { SSEMux } = await import(base + "/events/ssemux.js");
  const made = new SSEMux(base + "/events", options);
  made.on("message", (message) => tell(who, "event", { data: message.data, id: message.id }));
  made.on("ssemux.open", () => tell(who, "open"));
  made.on("ssemux.error", (error) => tell(who, "error", { error }));
}

async function run(who) {
  const { Run } = await import(base + "/events/ssemux.js");
  const started = new Run(base + "/answers", { method: "POST", credentials: "include" });
  for await (const { data, id } of started) tell(who, "event", { data, id });
  for await (const { data, id } of new Run(started.url, { credentials: "include" })) tell(who, "event", { data, id });
  tell(who, "end", { url: started.url });
}

const known = {
  native: () => native("native", base + "/events"),
  polyfill: () => polyfill("polyfill", base + "/events"),
  fetch: () => fetched("fetch", base + "/events"),
  mux: () => mux("mux", { credentials: "include" }),
  run: () => run("run"),
  "native-ticket": async (last = "") =>
    native("native-ticket", `${base}/events?ticket=${await newTicket()}&last_event_id=${last}`, known["native-ticket"]),
  "mux-ticket": () => mux("mux-ticket", { headers: async () => ({ Authorization: `Ticket ${await newTicket()}` }) }),
};
for (const way of ways.split(",")) Promise.resolve(known[way]()).catch(() => tell(way, "refused"));
</script>
"""


def create_app() -> Flask:
    app = Flask(__name__)
    app.register_blueprint(npm)

    @app.route("/")
    def page() -> Response:
        return Response(HTML, content_type="text/html; charset=utf-8")

    return app
