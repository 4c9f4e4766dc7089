// Cursors: the position of an event in the server's history, "<epoch>-<sequence>". An event's `id:` is its cursor.

/** The prefix of the names of the server's own events. */
export const OWN = "ssemux.";

/** Return the cursor's epoch and its sequence. */
export function splitCursor(cursor) {
  const cut = cursor.lastIndexOf("-");
  return [cursor.slice(0, cut), Number(cursor.slice(cut + 1))];
}

/** Return whether the first cursor is before the second one, or belongs to another epoch. */
export function isBehind(one, other) {
  if (!one || !other) return one;
  const [[epoch, sequence], [otherEpoch, otherSequence]] = [splitCursor(one), splitCursor(other)];
  return epoch !== otherEpoch || sequence < otherSequence;
}
