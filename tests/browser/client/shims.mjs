// Several tabs in one Node process: the Web Locks and the document of a browser, as far as ssemux.js uses them. What
// browsers themselves do with locks, freezes and crashes is tested in test_client_tabs.py.

const locks = new Map(); // by name: the holder, and the waiting requests

/** Locks as in the standard: one holder, requests that wait in order, stealing, signals. */
function request(name, { steal = false, signal } = {}, callback) {
  if (!locks.has(name)) locks.set(name, { waiting: [] });
  const lock = locks.get(name);
  return new Promise((resolve, reject) => {
    const one = { callback, resolve, reject };
    const abort = () => reject(new DOMException("aborted", "AbortError"));
    if (signal?.aborted) return abort();
    const give = () => {
      lock.waiting = lock.waiting.filter((other) => other !== one);
      abort();
    };
    signal?.addEventListener("abort", give);
    one.granted = () => signal?.removeEventListener("abort", give);
    if (steal && lock.holder) {
      lock.holder.reject(new DOMException("stolen", "AbortError"));
      lock.holder = undefined;
      lock.waiting.unshift(one);
    } else lock.waiting.push(one);
    return grant(name, lock);
  });
}

function grant(name, lock) {
  if (lock.holder || !lock.waiting.length) return;
  const one = (lock.holder = lock.waiting.shift());
  one.granted();
  setTimeout(async () => {
    await Promise.resolve(one.callback({})).then(one.resolve, one.reject);
    if (lock.holder !== one) return; // stolen
    lock.holder = undefined;
    grant(name, lock);
    if (!lock.holder && locks.get(name) === lock) locks.delete(name);
  });
}

globalThis.document = Object.assign(new EventTarget(), { hidden: false });
Object.defineProperty(globalThis, "navigator", { value: { locks: { request } }, configurable: true });
