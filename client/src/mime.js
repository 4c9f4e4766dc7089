// What a response says it is, as browsers read it. Shared by both modules.

/**
 * Return the MIME essence of a `Content-Type` header, in lower case and without parameters; "" if there is none.
 *
 * As in WHATWG Fetch ("extract a MIME type"): of a header that was sent twice the last type counts.
 */
export function readEssence(headers) {
  const header = (headers.get("Content-Type") ?? "").replace(/"[^"]*"/g, ""); // a quoted parameter may contain commas
  const types = header.split(",").map((type) => type.split(";")[0].trim().toLowerCase());
  return types.filter((type) => type.includes("/")).pop() ?? "";
}

/** Return whether a response is one that `EventSource` would read. */
export function isStream({ status, headers }) {
  return status === 200 && readEssence(headers) === "text/event-stream";
}
