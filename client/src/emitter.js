// The objects that a page listens to, and the messages that its listeners get. This file knows nothing of streams.

export class Message {
  constructor(frame) {
    Object.assign(this, frame);
  }

  get json() {
    return JSON.parse(this.data);
  }
}

export class Emitter {
  #listeners = [];

  on(event, listener) {
    this.#listeners = [...this.off(event, listener).#listeners, [event, listener]];
    return this;
  }

  off(event, listener) {
    this.#listeners = this.#listeners.filter(([name, other]) => name !== event || other !== listener);
    return this;
  }

  /** Whether nobody listens. */
  get isIdle() {
    return !this.#listeners.length;
  }

  emit(event, detail) {
    for (const [name, listener] of this.#listeners) {
      try {
        // "*" stands for every event that the application published
        if (name === event || (name === "*" && detail instanceof Message)) listener(detail);
      } catch (error) {
        (globalThis.reportError ?? console.error)(error);
      }
    }
  }
}

export class Channel extends Emitter {
  constructor(name, close) {
    super();
    Object.assign(this, { name, close });
  }
}
