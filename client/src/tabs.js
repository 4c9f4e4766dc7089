// Shares one connection among all tabs of a browser. docs/architecture.md has a diagram of the protocol between the tabs.
// Tabs of different versions of this file talk to each other during a deploy, so messages keep their names.

import { isBehind } from "./cursor.js";
import { HEARTBEAT, TICK } from "./link.js";

const ANSWER = 3_000; // ms within which a silent leader has to answer a ping
const ALIVE = 1_000; // ms between two messages of a leader whose stream receives bytes
const GATHER = 50; // ms during which a new leader collects what the tabs want, before it opens the stream

/** Return whether tabs may share a connection. Other headers may mean another user, unless `user` is given. */
export function mayShare({ shared = true, headers, fetch, user }) {
  const isClear = user !== undefined || !(headers || fetch);
  return shared && isClear && globalThis.document && navigator.locks && globalThis.BroadcastChannel;
}

/**
 * The tab that holds the lock `name` is the leader: it has the Link, and passes on what the Link receives.
 *
 * Each tab also holds a lock of its own, `name` + its id. The leader requests this lock, and gets it when the tab ends.
 */
export class Tabs {
  #broadcast;
  #id = crypto.randomUUID();
  #tabs = new Map(); // by tab's id: what the tab wants. Only the leader has any
  #link; // only the leader has one
  #linkChannels = []; // what the link's stream reads
  #state = { state: "connecting" };
  #leader; // the leader's id, as far as this tab knows
  #ownLock; // resolves when this tab holds its own lock
  #isInOrder; // what the leader passes on follows this tab's cursor without a gap
  #knowsLeader; // the leader has said what it reads
  #heardAt = 0;
  #sentAt = 0;
  #checkTimer;
  #pingTimer;
  #abort = new AbortController();
  #closed = new Promise((resolve) => this.#abort.signal.addEventListener("abort", resolve));

  constructor(name, createLink, callbacks, cursor) {
    Object.assign(this, { name, createLink, callbacks, cursor });
    this.#isInOrder = !cursor;
    this.#broadcast = new BroadcastChannel(name);
    this.#broadcast.onmessage = ({ data }) => this.#takeMessage(data);
    const hold = (ready) => this.#holdLock(name + this.#id, {}, () => this.#keepLock(ready)).catch(() => {});
    this.#ownLock = new Promise(hold);
    this.#requestLead({});
    this.#checkLeader();
  }

  get #heartbeat() {
    return this.#state.heartbeat ?? HEARTBEAT;
  }

  want(wanted) {
    if (this.#link) this.#noteWanted(this.#id, wanted);
    else this.#sendWanted();
  }

  wake(mayBeDead) {
    this.#link?.wake(mayBeDead);
    if (!this.#link) this.#pingLeader();
  }

  close() {
    this.#abort.abort();
    clearTimeout(this.#checkTimer);
    clearTimeout(this.#pingTimer);
    this.#broadcast.close();
    this.#giveUpLead();
  }

  async #holdLock(name, options, held) {
    const signal = options.steal ? undefined : this.#abort.signal; // the browser allows one of the two
    return navigator.locks.request(name, { ...options, signal }, held);
  }

  #keepLock(ready) {
    ready();
    return this.#closed;
  }

  #requestLead(options) {
    const lost = ({ name }) => {
      this.#giveUpLead(); // another tab took the lock, because this one did not answer
      if (this.#abort.signal.aborted) return;
      if (name === "AbortError") return options.steal || this.#requestLead({}); // a request still waits behind the steal
      this.#broadcast.onmessage = null; // the browser forbids locks: each tab has a connection of its own
      return this.#becomeLeader();
    };
    this.#holdLock(this.name, options, () => this.#becomeLeader()).catch(lost);
  }

  #becomeLeader() {
    if (this.#abort.signal.aborted) return;
    this.#tabs = new Map([[this.#id, this.callbacks.listWanted()]]);
    this.#send({ is: "who" });
    setTimeout(() => this.#openLink(), GATHER);
    return this.#closed;
  }

  #openLink() {
    if (!this.#tabs.size || this.#link) return; // the tab was closed, or lost the lead
    const pass = (is) => (it) => this.#passOn(is, it);
    this.#link = this.createLink(
      {
        opening: (it) => {
          this.#linkChannels = it.channels;
          this.#passOn("opening", it);
        },
        frame: pass("frame"),
        state: pass("state"),
        error: pass("error"),
        byte: () => Date.now() - this.#sentAt < ALIVE || this.#send({ is: "alive" }),
        isSpared: () => this.#tabs.size > 1,
      },
      this.cursor,
    );
    // not earlier: until now this tab took what the former leader had passed on
    this.callbacks.leads(true);
    this.#noteWanted(this.#id, this.callbacks.listWanted());
  }

  #giveUpLead() {
    this.#link?.close();
    this.#link = undefined;
    this.#tabs.clear();
    this.#linkChannels = [];
    this.callbacks.leads(false);
  }

  /** Show that this leader is alive, or ping a leader that was silent for half of a heartbeat interval. */
  #checkLeader() {
    if (this.#link) this.#send({ is: "alive" });
    else if (Date.now() - this.#heardAt > this.#heartbeat / 2) this.#pingLeader();
    this.#checkTimer = setTimeout(() => this.#checkLeader(), Math.min(TICK, this.#heartbeat / 8));
  }

  /** Ask the leader for an answer. If none comes, take the lock. */
  #pingLeader() {
    const asked = Date.now();
    this.#send({ is: "ping" });
    this.#pingTimer ??= setTimeout(
      () => {
        this.#pingTimer = undefined;
        if (this.#heardAt < asked && !this.#tabs.size && !this.#abort.signal.aborted)
          this.#requestLead({ steal: true });
      },
      Math.min(ANSWER, this.#heartbeat),
    );
  }

  #send(message) {
    this.#sentAt = Date.now();
    if (!this.#abort.signal.aborted) this.#broadcast.postMessage({ from: this.#id, ...message });
  }

  #passOn(is, it) {
    this.#send({ is, it });
    this.#takeNews({ is, it });
  }

  async #sendWanted() {
    await this.#ownLock; // resolves when this tab holds its own lock
    this.#send({ is: "want", ...this.callbacks.listWanted(), cursor: this.#isInOrder ? undefined : this.cursor });
  }

  #takeMessage(message) {
    const { is, from } = message;
    if (is === "want") return this.#tabs.size && this.#noteWanted(from, message);
    if (is === "ping") return this.#link && this.#answerPing();
    if (is === "who") return this.#followLeader(from);
    this.#leader ??= from;
    if (this.#link || from !== this.#leader) return; // the message of a former leader that was frozen
    this.#heardAt = Date.now();
    return this.#takeNews(message);
  }

  #followLeader(leader) {
    this.#leader = leader;
    this.#heardAt = Date.now();
    this.#isInOrder = !this.cursor;
    this.#giveUpLead(); // this tab may have been the leader, and frozen
    this.#sendWanted();
  }

  #answerPing() {
    this.#link.wake();
    this.#send({ is: "state", it: this.#state });
  }

  /** Give the page what the link received, here or in the leader's tab. */
  #takeNews({ is, it }) {
    if (is === "opening" || is === "reads") {
      this.#knowsLeader = true;
      this.#isInOrder ||= !isBehind(this.cursor, it.since);
    }
    if (is === "opening" || is === "frame") {
      if (!this.#isInOrder) return;
      this.cursor = it.id || this.cursor;
    }
    if (is === "reads") this.cursor ??= it.since;
    if (is === "state") this.#state = it;
    if (is !== "state" || this.#knowsLeader) this.callbacks[is]?.(it);
    if (is === "opening") this.callbacks.reads({ channels: it.channels, since: it.id });
  }

  /** A leader notes what a tab wants. A new tab whose cursor is older needs a stream that resumes from there. */
  #noteWanted(from, { channels, fresh, cursor }) {
    const isNew = !this.#tabs.has(from);
    const since = isNew && isBehind(cursor, this.cursor) ? cursor : undefined;
    this.#tabs.set(from, { channels, fresh });
    if (isNew) this.#holdLock(this.name + from, {}, () => this.#forgetTab(from)).catch(() => {});
    if (this.#link) this.#updateLink(since);
    else if (since) this.cursor = since;
  }

  #forgetTab(tab) {
    if (this.#tabs.delete(tab) && this.#link) this.#updateLink();
  }

  #updateLink(since) {
    const tabs = [...this.#tabs.values()];
    const channels = [...new Set(tabs.flatMap((tab) => tab.channels))];
    const known = tabs.flatMap((tab) => tab.channels.filter((name) => !tab.fresh.includes(name)));
    const fresh = channels.filter((name) => !known.includes(name) && !this.#linkChannels.includes(name));
    this.#passOn("reads", { channels: this.#linkChannels, since: this.cursor });
    this.#link?.want({ channels, fresh, since });
    this.#send({ is: "state", it: this.#state });
  }
}
