// Cursors, which are the ids of events: "<epoch>-<sequence>".

/** The names of the server's own events begin with this. */
export const OWN = "ssemux.";

/** The epoch and the sequence. */
export function split(cursor) {
  const cut = cursor.lastIndexOf("-");
  return [cursor.slice(0, cut), Number(cursor.slice(cut + 1))];
}

/** Whether events lie between the two, or another history does. */
export function isBehind(one, other) {
  if (!one || !other) return one;
  const [[epoch, place], [otherEpoch, otherPlace]] = [split(one), split(other)];
  return epoch !== otherEpoch || place < otherPlace;
}
