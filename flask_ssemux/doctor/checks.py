"""The checks of a stream at a URL: from what came to what it means. No requests, no clock: what is judged is over."""

from __future__ import annotations

from typing import Callable, Iterator

from .advice import CACHED, COMPRESSED, LIMITED, NGINX, SERVERS, hop_of
from .call import Call
from .examination import HELLO, PROBED, RESET, Seen
from .flow import flow, is_lump
from .reach import why_no_stream
from .report import FAIL, OK, SKIPPED, WARN, Advice, Check
from .silence import silence
from .words import buffered, fix, rounded, seconds, state

#: Seconds until the first byte that nobody minds.
SOON = 2.0

#: What hops answer where there are too many connections: RFC 6585, 4 and RFC 9110, 15.6.4.
REFUSED = (429, 503)

#: What our streams are sent with; a hop that changes it takes the trouble to.
CACHE_CONTROL = "no-cache, no-transform"


def checks_of(seen: Seen) -> list[Check]:
    """All that can be said of it; where there is no stream, why."""
    no_stream = why_no_stream(seen)
    if no_stream:
        return [no_stream, *(_cache(seen) if seen.twins else ())]
    checks = [_answer(seen)]
    for check in _CHECKS:
        checks += check(seen)
    return checks


def _answer(seen: Seen) -> Check:
    said = "a stream"
    if seen.hello:
        said = "a stream of flask_ssemux, with a heartbeat of %g s" % seen.heartbeat
    if seen.redirects:
        said += ", redirected to %s" % seen.url
    measured = {"url": seen.url, "redirects": len(seen.redirects), "flask_ssemux": bool(seen.hello)}
    return Check("answer", OK, said, (), measured)


def _first_byte(seen: Seen) -> Iterator[Check]:
    main = seen.main
    headers, first = main.seconds_to_headers or 0.0, main.seconds_to_first_byte or 0.0
    said = "headers after %s, first byte after %s" % (seconds(headers), seconds(first))
    measured = {"connect": rounded(main.connect_seconds), "headers": rounded(headers), "body": rounded(first)}
    if first <= SOON:
        yield Check("first byte", OK, said, (), measured)
    elif seen.hello:
        yield Check("first byte", WARN, said + ", though it was sent at once", buffered(seen), measured)
    else:
        text = (
            "Either nothing is sent before the first event, or a hop holds it. Send something at once; for an old view:"
        )
        yield Check("first byte", WARN, said, (Advice(text, ("@flask_ssemux.streaming",)),), measured)


def _headers(seen: Seen) -> Iterator[Check]:
    headers = seen.main.headers
    kind, caching = headers.get("content-type", ""), headers.get("cache-control")
    accel, hop = headers.get("x-accel-buffering"), hop_of(headers)
    measured = {"content_type": kind, "cache_control": caching, "x_accel_buffering": accel}
    said = "%s; Cache-Control: %s; X-Accel-Buffering: %s" % (
        kind,
        caching or "none",
        accel or ("taken out by nginx, if it was there" if hop == NGINX else "none"),
    )
    fixes = []
    if accel != "no" and hop in SERVERS:
        text = "Behind nginx this stream would be held back, which the header prevents:"
        fixes.append(Advice(text, ("X-Accel-Buffering: no",)))
    if seen.hello and caching != CACHE_CONTROL:
        fixes.append(Advice("A hop changed Cache-Control, which was sent as:", ("Cache-Control: " + CACHE_CONTROL,)))
    elif not caching or "no-cache" not in caching and "no-store" not in caching:
        fixes.append(Advice("Nothing forbids a cache to keep it; send:", ("Cache-Control: " + CACHE_CONTROL,)))
    if kind != "text/event-stream" and seen.hello:
        text = "A hop changed Content-Type; some tunnels hold back what is not to the letter:"
        fixes.append(Advice(text, ("Content-Type: text/event-stream",)))
    yield Check("headers", WARN if fixes else OK, said, tuple(fixes), measured)


def _compression(seen: Seen) -> Iterator[Check]:
    asked_for = _encoding(seen.main) or _encoding(seen.head)
    not_asked_for = _encoding(seen.second)
    measured = {"with_accept_encoding": asked_for, "without": not_asked_for}
    if not asked_for and not not_asked_for:
        yield Check("compression", OK, "none, though the request allows it", (), measured)
        return
    said = "the stream is compressed: Content-Encoding: %s" % (not_asked_for or asked_for)
    if not_asked_for:
        said += ", even without Accept-Encoding: clients will not understand it"
    status = FAIL if not_asked_for else WARN
    yield Check("compression", status, said + _although(seen), fix(seen, COMPRESSED), measured)


def _encoding(call: Call | None) -> str | None:
    """What its body went through; "identity" is what our streams say, and says nothing."""
    named = call.headers.get("content-encoding") if call else None
    return None if named == "identity" else named


def _although(seen: Seen) -> str:
    if seen.is_probed and not is_lump(seen):
        return "; its frames do arrive in time, at the price of memory and processor for each stream"
    return "; most compressors collect a block before they send anything"


def _cache(seen: Seen) -> Iterator[Check]:
    headers = seen.main.headers
    signs = ["%s: %s" % (name.title(), value) for name, value in headers.items() if _says_hit(name, value)]
    runs = [frame.json().get("run") for call in seen.twins for frame in call.events(PROBED)]
    hits = {
        "%s: %s" % (name.title(), value)
        for call in seen.twins[1:]
        for name, value in call.headers.items()
        if _says_hit(name, value)
    }
    is_same = len(runs) == 2 and runs[0] == runs[1]
    measured = {"signs": signs + sorted(hits), "same_answer_twice": is_same if len(runs) == 2 else None}
    if is_same:
        said = "; ".join(["two requests got one and the same answer"] + sorted(hits))
        yield Check("cache", FAIL, said, fix(seen, CACHED), measured)
    elif signs:
        said = "the stream came out of a cache: %s" % "; ".join(signs)
        yield Check("cache", FAIL, said, fix(seen, CACHED), measured)
    elif len(runs) == 2:
        yield Check("cache", OK, "none: two requests to one URL got an answer each", (), measured)
    else:
        yield Check("cache", OK, "no header tells of one", (), measured)


def _says_hit(name: str, value: str) -> bool:
    if name == "age":
        return value.strip() not in ("", "0")
    if "cache" not in name or name == "cache-control":
        return False
    return value.lower().rpartition(",")[2].strip().startswith(("hit", "tcp_hit"))


def _protocol(seen: Seen) -> Iterator[Check]:
    version = {10: "HTTP/1.0", 11: "HTTP/1.1"}.get(seen.main.version, "HTTP/%s" % seen.main.version)
    measured = {"version": version, "alpn": seen.protocol}
    if seen.protocol == "h2":
        yield Check("protocol", OK, "HTTP/2 for browsers: their streams share one connection", (), measured)
    elif version == "HTTP/1.0":
        text = "A hop speaks HTTP/1.0: no chunks, no kept connections. nginx, towards what is behind it:"
        yield Check("protocol", WARN, "HTTP/1.0", (Advice(text, ("proxy_http_version 1.1;",)),), measured)
    else:
        said = "HTTP/1.1, of which a browser opens six connections to a host; HTTP/2 at the proxy ends that"
        yield Check("protocol", OK, said, (), measured)


def _resume(seen: Seen) -> Iterator[Check]:
    if not seen.hello or seen.resumed is None or seen.strange is None:
        yield Check("resume", SKIPPED, "the stream gives no cursor to come back with")
        return
    resumed, strange = seen.resumed, seen.strange
    if not resumed.events(HELLO) or not strange.events(HELLO):
        failed = strange if resumed.events(HELLO) else resumed
        said = "a stream with Last-Event-ID was not opened: %s" % state(failed)
        yield Check("resume", FAIL, said, fix(seen, LIMITED))
        return
    resets = [frame.json().get("reason") for frame in resumed.events(RESET)]
    missed = sum(bool(frame.id) for frame in resumed.frames) - 1
    is_heard = bool(strange.events(RESET))
    measured = {"cursor": seen.hello.id, "missed": missed, "reset": resets[0] if resets else None, "heard": is_heard}
    if resets:
        text = (
            "The history does not reach back to a cursor of a moment ago: do all workers and machines have the same "
            "broker (SSEMUX_BROKER), and do SSEMUX_HISTORY_SECONDS and SSEMUX_HISTORY_EVENTS keep anything?"
        )
        said = "coming back with %s gave ssemux.reset (%s)" % (seen.hello.id, resets[0])
        yield Check("resume", FAIL, said, (Advice(text),), measured)
    elif not is_heard:
        text = "A hop drops the request's header Last-Event-ID: pass it on. In nginx:"
        lines = ("proxy_set_header Last-Event-ID $http_last_event_id;",)
        said = "a Last-Event-ID that nobody gave out was not noticed: the header does not arrive"
        yield Check("resume", FAIL, said, (Advice(text, lines),), measured)
    else:
        said = "Last-Event-ID arrives; coming back with %s brought what was missed: %d events" % (seen.hello.id, missed)
        yield Check("resume", OK, said, (), measured)


def _second(seen: Seen) -> Iterator[Check]:
    second = seen.second
    if second is None:
        return
    first = seen.main.seconds_to_first_byte or 0.0
    took = second.seconds_to_first_byte
    measured = {"status": second.status, "first_byte": rounded(took), "others": seen.others}
    beside = "%d other%s" % (seen.others, "" if seen.others == 1 else "s")
    # All go out at nearly one time, and whom a limit refuses is chance.
    all_others = (second, seen.flow, seen.quiet, seen.resumed, seen.strange)
    refused = next((call for call in all_others if call is not None and call.status in REFUSED), None)
    if refused or not second.is_stream or took is None:
        said = "a second stream, beside %s: %s" % (beside, state(refused or second))
        yield Check("second stream", FAIL, said, fix(seen, LIMITED), measured)
    elif took > SOON + 3 * first:
        said = "a second stream waited %s for its first byte, beside %s" % (seconds(took), beside)
        yield Check("second stream", WARN, said, fix(seen, LIMITED), measured)
    else:
        said = "first byte after %s, beside %s" % (seconds(took), beside)
        yield Check("second stream", OK, said, (), measured)


_CHECKS: tuple[Callable[[Seen], Iterator[Check]], ...] = (
    _first_byte, _headers, flow, _compression, _cache, _protocol, _resume, _second, silence,
)  # fmt: skip
