// The decoder of the text/event-stream format. There is no I/O and no clock here.

const CHANNEL = "channel: ";

/**
 * Parses text by WHATWG HTML 9.2.6, with one more field, `channel`, which may also stand in a comment (`: channel: name`).
 *
 * It calls `callbacks.frame({ event, data, id, channel })` for each event and `callbacks.retry(milliseconds)`.
 */
export class Parser {
  #callbacks;
  #rest = "";
  #endsInCR = false;
  #fields = {};

  constructor(callbacks) {
    this.#callbacks = callbacks;
  }

  feed(text) {
    if (!text) return;
    const isSecondHalf = this.#endsInCR && text[0] === "\n";
    this.#endsInCR = text.endsWith("\r");
    const lines = (isSecondHalf ? text.slice(1) : text).split(/\r\n|\r|\n/);
    lines[0] = this.#rest + lines[0]; // a line of many pieces is not searched again for each piece
    this.#rest = lines.pop();
    for (const line of lines) this.#parseLine(line);
  }

  #parseLine(line) {
    if (!line) return this.#dispatchFrame();
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    const fields = this.#fields;
    if (name === "data") fields.data = fields.data === undefined ? value : `${fields.data}\n${value}`;
    else if (name === "event" || name === "channel") fields[name] = value;
    else if (!name && value.startsWith(CHANNEL)) fields.channel = value.slice(CHANNEL.length);
    else if (name === "id" && !value.includes("\0")) fields.id = value;
    else if (name === "retry" && /^[0-9]+$/.test(value)) this.#callbacks.retry(Number(value));
  }

  #dispatchFrame() {
    const { event, data, id, channel } = this.#fields;
    this.#fields = {};
    if (data !== undefined) this.#callbacks.frame({ event: event || "message", data, id, channel });
  }
}
