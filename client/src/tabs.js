// One connection for all tabs of a browser. docs/architecture.md has the protocol between the tabs as a diagram.

import { isBehind } from "./cursor.js";
import { HEARTBEAT, TICK } from "./link.js";

const ANSWER = 3_000; // ms that a silent leader has to answer
const ALIVE = 1_000; // ms between two signs of life of a leader
const GATHER = 50; // ms in which a new leader collects what the tabs read

/** Tabs with headers of their own may belong to different users, so they share only if the page names the user. */
export function mayShare({ shared = true, headers, fetch, user }) {
  const isClear = user !== undefined || !(headers || fetch);
  return shared && isClear && globalThis.document && navigator.locks && globalThis.BroadcastChannel;
}

/**
 * The tab that holds the lock is the leader: it has the Link, and passes on what arrives. Each tab also holds a lock of its own;
 * the leader waits for these locks, and so learns when a tab is gone.
 */
export class Tabs {
  #post;
  #me = crypto.randomUUID();
  #tabs = new Map(); // in the leader: what each tab wants
  #link;
  #held = []; // the channels that the stream reads
  #state = { state: "connecting" };
  #leader;
  #alive;
  #isIn; // whether frames that are passed on follow this tab's cursor
  #isMet; // whether the leader said what it reads
  #heard = 0;
  #spoke = 0;
  #timer;
  #asking;
  #quit = new AbortController();
  #over = new Promise((resolve) => this.#quit.signal.addEventListener("abort", resolve));

  constructor(name, dial, tell, cursor) {
    Object.assign(this, { name, dial, tell, cursor });
    this.#isIn = !cursor;
    this.#post = new BroadcastChannel(name);
    this.#post.onmessage = ({ data }) => this.#hear(data);
    this.#alive = new Promise((ready) => this.#hold(name + this.#me, {}, () => this.#live(ready)).catch(() => {}));
    this.#stand({});
    this.#look();
  }

  get #heartbeat() {
    return this.#state.heartbeat ?? HEARTBEAT;
  }

  want(wanted) {
    if (this.#link) this.#gather(this.#me, wanted);
    else this.#introduce();
  }

  wake(isSure) {
    this.#link?.wake(isSure);
    if (!this.#link) this.#ask();
  }

  close() {
    this.#quit.abort();
    clearTimeout(this.#timer);
    clearTimeout(this.#asking);
    this.#post.close();
    this.#retire();
  }

  async #hold(name, options, held) {
    const signal = options.steal ? undefined : this.#quit.signal; // a request has either of them, never both
    return navigator.locks.request(name, { ...options, signal }, held);
  }

  #live(ready) {
    ready();
    return this.#over;
  }

  #stand(options) {
    const lost = ({ name }) => {
      this.#retire(); // another tab took the lock, as this one was frozen
      if (this.#quit.signal.aborted) return;
      if (name === "AbortError") return options.steal || this.#stand({}); // the request that took it is in the queue already
      this.#post.onmessage = null; // this page gets no locks, so each tab reads for itself
      return this.#lead();
    };
    this.#hold(this.name, options, () => this.#lead()).catch(lost);
  }

  #lead() {
    if (this.#quit.signal.aborted) return;
    this.#tabs = new Map([[this.#me, this.tell.wanted()]]);
    this.#say({ is: "who" });
    setTimeout(() => this.#connect(), GATHER);
    return this.#over;
  }

  #connect() {
    if (!this.#tabs.size || this.#link) return; // closed meanwhile, or found frozen
    const pass = (is) => (it) => this.#pass(is, it);
    this.#link = this.dial(
      {
        opening: (it) => {
          this.#held = it.channels;
          this.#pass("opening", it);
        },
        frame: pass("frame"),
        state: pass("state"),
        error: pass("error"),
        byte: () => Date.now() - this.#spoke < ALIVE || this.#say({ is: "alive" }),
        isSpared: () => this.#tabs.size > 1,
      },
      this.cursor,
    );
    this.#gather(this.#me, this.tell.wanted());
  }

  #retire() {
    this.#link?.close();
    this.#link = undefined;
    this.#tabs.clear();
    this.#held = [];
  }

  /** A leader that is silent for half a heartbeat is asked. If it does not answer, its lock is taken. */
  #look() {
    if (this.#link) this.#say({ is: "alive" });
    else if (Date.now() - this.#heard > this.#heartbeat / 2) this.#ask();
    this.#timer = setTimeout(() => this.#look(), Math.min(TICK, this.#heartbeat / 8));
  }

  #ask() {
    const asked = Date.now();
    this.#say({ is: "ping" });
    this.#asking ??= setTimeout(
      () => {
        this.#asking = undefined;
        if (this.#heard < asked && !this.#tabs.size && !this.#quit.signal.aborted) this.#stand({ steal: true });
      },
      Math.min(ANSWER, this.#heartbeat),
    );
  }

  #say(words) {
    this.#spoke = Date.now();
    if (!this.#quit.signal.aborted) this.#post.postMessage({ from: this.#me, ...words });
  }

  #pass(is, it) {
    this.#say({ is, it });
    this.#receive({ is, it });
  }

  async #introduce() {
    await this.#alive;
    this.#say({ is: "want", ...this.tell.wanted(), cursor: this.#isIn ? undefined : this.cursor });
  }

  #hear(words) {
    const { is, from } = words;
    if (is === "want") return this.#tabs.size && this.#gather(from, words);
    if (is === "ping") return this.#link && this.#answer();
    if (is === "who") return this.#follow(from);
    this.#leader ??= from;
    if (this.#link || from !== this.#leader) return; // a former leader that was frozen
    this.#heard = Date.now();
    return this.#receive(words);
  }

  #follow(leader) {
    this.#leader = leader;
    this.#heard = Date.now();
    this.#isIn = !this.cursor;
    this.#retire(); // if this tab led and was frozen
    this.#introduce();
  }

  #answer() {
    this.#link.wake();
    this.#say({ is: "state", it: this.#state });
  }

  #receive({ is, it }) {
    if (is === "opening" || is === "reads") {
      this.#isMet = true;
      this.#isIn ||= !isBehind(this.cursor, it.since);
    }
    if (is === "opening" || is === "frame") {
      if (!this.#isIn) return;
      this.cursor = it.id || this.cursor;
    }
    if (is === "reads") this.cursor ??= it.since;
    if (is === "state") this.#state = it;
    if (is !== "state" || this.#isMet) this.tell[is]?.(it);
    if (is === "opening") this.tell.reads({ channels: it.channels, since: it.id });
  }

  /** A tab joins or changes its channels. If its cursor is behind the leader's, the next stream starts there. */
  #gather(from, { channels, fresh, cursor }) {
    const isNew = !this.#tabs.has(from);
    const since = isNew && isBehind(cursor, this.cursor) ? cursor : undefined;
    this.#tabs.set(from, { channels, fresh });
    if (isNew) this.#hold(this.name + from, {}, () => this.#forget(from)).catch(() => {});
    if (this.#link) this.#plan(since);
    else if (since) this.cursor = since;
  }

  #forget(tab) {
    if (this.#tabs.delete(tab) && this.#link) this.#plan();
  }

  #plan(since) {
    const tabs = [...this.#tabs.values()];
    const channels = [...new Set(tabs.flatMap((tab) => tab.channels))];
    const known = tabs.flatMap((tab) => tab.channels.filter((name) => !tab.fresh.includes(name)));
    const fresh = channels.filter((name) => !known.includes(name) && !this.#held.includes(name));
    this.#pass("reads", { channels: this.#held, since: this.cursor });
    this.#link?.want({ channels, fresh, since });
    this.#say({ is: "state", it: this.#state });
  }
}
