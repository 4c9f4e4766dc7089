// Typed events: a map of channels and events to the types of their data. Each line under an expected error must be one.

import { SSEMux, type Channel, type Message } from "../../../client/ssemux.js";

interface Events {
  news: { sale: { sold: number }; message: string };
  [jobs: `jobs:${string}`]: { progress: { done: number } };
  "*": { notice: { text: string } };
}

const mux = new SSEMux<Events>("/events", { shared: false });
const id = Math.floor(1e3 * Math.random());
const print = (text: string): void => console.log(text);

mux.channel("news").on("sale", (message) => {
  const sold: number = message.json.sold;
  const name: "sale" = message.event;
  print(message.data + sold + name + message.channel);
  // @ts-expect-error: a sale has no such member
  print(message.json.price);
});
mux.channel("news").on("message", ({ json }) => print(json));
mux.channel(`jobs:${id}`).on("progress", ({ json }) => (json.done satisfies number));
mux.channel("jobs:42").on("progress", ({ json }) => (json.done satisfies number));
mux.on("notice", ({ json }) => print(json.text));
mux.on("ssemux.leader", ({ leader }) => leader satisfies boolean);
mux.channel("news").on("ssemux.reset", ({ channels }) => channels satisfies string[]);
mux.channel("news").on("*", (message) => {
  if (message.event === "sale") message.json.sold satisfies number;
  else message.json satisfies string;
});

const count = (message: Message<{ sold: number }>): number => message.json.sold;
mux.channel("news").on("sale", count).off("sale", count).close();
const news: Channel<Events["news"]> = mux.channel("news");
news.on("message", ({ event }) => print(event));

// @ts-expect-error: no channel has this name
mux.channel("newz");
// @ts-expect-error: the pattern of jobs has a colon
mux.channel("jobs");
// @ts-expect-error: any text need not be a channel
mux.channel(document.title);
// @ts-expect-error: the channel has no such event
mux.channel("news").on("sael", () => {});
// @ts-expect-error: the event belongs to another channel
mux.channel("news").on("progress", () => {});
// @ts-expect-error: the user's own events have other names
mux.on("sale", () => {});
// @ts-expect-error: the listener expects other data
mux.channel("news").on("sale", (message: Message<{ done: number }>) => print(String(message.json.done)));
// @ts-expect-error: the listener expects other data
mux.channel("news").off("sale", (message: Message<{ done: number }>) => print(String(message.json.done)));
// @ts-expect-error: "*" is no channel
mux.channel("*");
// @ts-expect-error: only the client decides who leads
mux.leader = true;
// @ts-expect-error: a channel of a map is a map of events
new SSEMux<{ news: string }>("/events");

// A map that says nothing of "*" allows the client's own events there, and no others.
const few = new SSEMux<{ news: { sale: number } }>("/events");
few.on("ssemux.open", ({ state }) => print(state));
// @ts-expect-error: the map has no such event
few.on("notice", () => {});

// Without a map, every name may occur, and the data has any type.
const any = new SSEMux("/events");
any.channel(document.title).on(document.title, (message) => print(message.json.anything + message.event));
any.channel("news").on("*", (message) => print(message.json.anything + message.event));
any.on("notice", ({ json }) => print(json.text));
const one: SSEMux = any;
const other: SSEMux<any> = mux;
other.channel("anything").on("anything", ({ json }) => print(json));
one.close();
