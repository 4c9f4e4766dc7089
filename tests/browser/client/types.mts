// What a page may write, and what the compiler must refuse. This file is only compiled.

import { Run, SSEMux, type Message, type Problem, type Reset, type State } from "../../../client/ssemux.js";

const mux = new SSEMux("/events", { timeout: 60_000, headers: async () => ({ Authorization: "Bearer x" }), user: 7, shared: false });
const done = (message: Message): number => message.json.done + message.data.length;

mux.channel("jobs:42").on("progress", done).on("ssemux.reset", (reset: Reset) => reset.channels.join()).off("progress", done).close();
mux.on("notice", (message) => message.channel?.length).on("ssemux.error", (problem: Problem) => problem.final);
mux.on("ssemux.open", ({ state }) => { const now: State = state; return now; });
mux.on("ssemux.replaced", ({ reason }) => reason.length).on("ssemux.stop", ({ reason }) => reason.length);
mux.on("ssemux.open", ({ transport }) => transport === "poll" && mux.transport !== "stream");

const run = mux.run("/answers", { method: "POST", body: "{}", headers: { "Content-Type": "application/json" } });
for await (const { json } of run) json.token;
run.on("ssemux.run", ({ state }) => state === "done").on("n", done).on("ssemux.open", ({ url }) => url?.length);
new Run(run.url ?? "/events/run/x", { lastEventId: "a-1" }).close();

// @ts-expect-error: a run does not end as open
run.on("ssemux.run", ({ state }) => state === "open");
// @ts-expect-error: a state cannot be set
mux.state = "open";
// @ts-expect-error: a reset is not a message
mux.on("ssemux.reset", (message: Message) => message.data);
// @ts-expect-error: seconds as text
new SSEMux("/events", { timeout: "60" });
