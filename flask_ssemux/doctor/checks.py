"""Turns the responses that the doctor received from a URL into checks. Makes no requests: all of them are over."""

from __future__ import annotations

from typing import Callable, Iterator

from .advice import CACHED, COMPRESSED, LIMITED, NGINX, SERVERS, find_hop
from .call import Call
from .examination import HELLO, PROBED, RESET, Seen
from .flow import check_flow, is_burst
from .reach import explain_missing_stream
from .report import FAIL, OK, SKIPPED, WARN, Advice, Check
from .silence import check_silence
from .words import advise_on, advise_on_buffering, describe_state, format_seconds, round_seconds

#: Seconds until the first byte that are acceptable.
SOON = 2.0

#: Status codes with which hops refuse too many connections: RFC 6585, section 4, and RFC 9110, section 15.6.4.
REFUSED = (429, 503)

#: The header with which flask_ssemux sends streams.
CACHE_CONTROL = "no-cache, no-transform"


def run_checks(seen: Seen) -> list[Check]:
    """Return all checks of a stream, or the reason why there is no stream."""
    no_stream = explain_missing_stream(seen)
    if no_stream:
        return [no_stream, *(_check_cache(seen) if seen.twins else ())]
    checks = [_check_answer(seen)]
    for check in _CHECKS:
        checks += check(seen)
    return checks


def _check_answer(seen: Seen) -> Check:
    said = "a stream"
    if seen.hello:
        said = "a stream of flask_ssemux, with a heartbeat of %g s" % seen.heartbeat
    if seen.redirects:
        said += ", redirected to %s" % seen.url
    measured = {"url": seen.url, "redirects": len(seen.redirects), "flask_ssemux": bool(seen.hello)}
    return Check("answer", OK, said, (), measured)


def _check_first_byte(seen: Seen) -> Iterator[Check]:
    main = seen.main
    headers, first = main.seconds_to_headers or 0.0, main.seconds_to_first_byte or 0.0
    said = "headers after %s, first byte after %s" % (format_seconds(headers), format_seconds(first))
    measured = {
        "connect": round_seconds(main.connect_seconds),
        "headers": round_seconds(headers),
        "body": round_seconds(first),
    }
    if first <= SOON:
        yield Check("first byte", OK, said, (), measured)
    elif seen.hello:
        said += ", although the server sent it at once"
        yield Check("first byte", WARN, said, advise_on_buffering(seen), measured)
    else:
        text = (
            "Either the application sends nothing before the first event, or a hop holds it back. Send something at "
            "once; for an old view:"
        )
        yield Check("first byte", WARN, said, (Advice(text, ("@flask_ssemux.streaming",)),), measured)


def _check_headers(seen: Seen) -> Iterator[Check]:
    headers = seen.main.headers
    kind, caching = headers.get("content-type", ""), headers.get("cache-control")
    accel, hop = headers.get("x-accel-buffering"), find_hop(headers)
    measured = {"content_type": kind, "cache_control": caching, "x_accel_buffering": accel}
    said = "%s; Cache-Control: %s; X-Accel-Buffering: %s" % (
        kind,
        caching or "none",
        accel or ("none (nginx removes it)" if hop == NGINX else "none"),
    )
    fixes = []
    if accel != "no" and hop in SERVERS:
        text = "nginx would hold this stream back; the application prevents that with the header:"
        fixes.append(Advice(text, ("X-Accel-Buffering: no",)))
    if seen.hello and caching != CACHE_CONTROL:
        text = "A hop changed Cache-Control. The application sent:"
        fixes.append(Advice(text, ("Cache-Control: " + CACHE_CONTROL,)))
    elif not caching or "no-cache" not in caching and "no-store" not in caching:
        fixes.append(Advice("Caches may store this stream. Send:", ("Cache-Control: " + CACHE_CONTROL,)))
    if kind != "text/event-stream" and seen.hello:
        text = "A hop changed Content-Type. Some tunnels hold back every type that is not exactly:"
        fixes.append(Advice(text, ("Content-Type: text/event-stream",)))
    yield Check("headers", WARN if fixes else OK, said, tuple(fixes), measured)


def _check_compression(seen: Seen) -> Iterator[Check]:
    asked_for = _get_encoding(seen.main) or _get_encoding(seen.head)
    not_asked_for = _get_encoding(seen.second)
    measured = {"with_accept_encoding": asked_for, "without": not_asked_for}
    if not asked_for and not not_asked_for:
        yield Check("compression", OK, "none, although the request allows it", (), measured)
        return
    said = "the stream is compressed: Content-Encoding: %s" % (not_asked_for or asked_for)
    if not_asked_for:
        said += ", even without Accept-Encoding: clients will not understand it"
    status = FAIL if not_asked_for else WARN
    yield Check("compression", status, said + _describe_effect(seen), advise_on(seen, COMPRESSED), measured)


def _get_encoding(call: Call | None) -> str | None:
    """Return the response's encoding. flask_ssemux's streams say "identity", which is no encoding."""
    named = call.headers.get("content-encoding") if call else None
    return None if named == "identity" else named


def _describe_effect(seen: Seen) -> str:
    if seen.is_probed and not is_burst(seen):
        return "; its frames arrive in time, but each stream costs memory and CPU time"
    return "; most compressors collect a block before they send anything"


def _check_cache(seen: Seen) -> Iterator[Check]:
    headers = seen.main.headers
    signs = ["%s: %s" % (name.title(), value) for name, value in headers.items() if _is_cache_hit(name, value)]
    runs = [frame.json().get("run") for call in seen.twins for frame in call.events(PROBED)]
    hits = {
        "%s: %s" % (name.title(), value)
        for call in seen.twins[1:]
        for name, value in call.headers.items()
        if _is_cache_hit(name, value)
    }
    is_same = len(runs) == 2 and runs[0] == runs[1]
    measured = {"signs": signs + sorted(hits), "same_answer_twice": is_same if len(runs) == 2 else None}
    if is_same:
        said = "; ".join(["two requests got the same response", *sorted(hits)])
        yield Check("cache", FAIL, said, advise_on(seen, CACHED), measured)
    elif signs:
        said = "the stream came out of a cache: %s" % "; ".join(signs)
        yield Check("cache", FAIL, said, advise_on(seen, CACHED), measured)
    elif len(runs) == 2:
        yield Check("cache", OK, "none: two requests to the same URL got different responses", (), measured)
    else:
        yield Check("cache", OK, "no header indicates one", (), measured)


def _is_cache_hit(name: str, value: str) -> bool:
    if name == "age":
        return value.strip() not in ("", "0")
    if "cache" not in name or name == "cache-control":
        return False
    return value.lower().rpartition(",")[2].strip().startswith(("hit", "tcp_hit"))


def _check_protocol(seen: Seen) -> Iterator[Check]:
    version = {10: "HTTP/1.0", 11: "HTTP/1.1"}.get(seen.main.version, "HTTP/%s" % seen.main.version)
    measured = {"version": version, "alpn": seen.protocol}
    if seen.protocol == "h2":
        yield Check("protocol", OK, "HTTP/2 for browsers: their streams share one connection", (), measured)
    elif version == "HTTP/1.0":
        text = "A hop uses HTTP/1.0, without chunks and without persistent connections. In nginx, for its upstream:"
        yield Check("protocol", WARN, "HTTP/1.0", (Advice(text, ("proxy_http_version 1.1;",)),), measured)
    else:
        said = "HTTP/1.1: a browser opens at most six connections to a host; HTTP/2 at the proxy removes this limit"
        yield Check("protocol", OK, said, (), measured)


def _check_resume(seen: Seen) -> Iterator[Check]:
    if not seen.hello or seen.resumed is None or seen.strange is None:
        yield Check("resume", SKIPPED, "the stream sends no cursor with which a client could resume")
        return
    resumed, strange = seen.resumed, seen.strange
    if not resumed.events(HELLO) or not strange.events(HELLO):
        failed = strange if resumed.events(HELLO) else resumed
        said = "a stream with Last-Event-ID was not opened: %s" % describe_state(failed)
        yield Check("resume", FAIL, said, advise_on(seen, LIMITED))
        return
    resets = [frame.json().get("reason") for frame in resumed.events(RESET)]
    missed = sum(bool(frame.id) for frame in resumed.frames) - 1
    is_heard = bool(strange.events(RESET))
    measured = {"cursor": seen.hello.id, "missed": missed, "reset": resets[0] if resets else None, "heard": is_heard}
    if resets:
        text = (
            "The history does not contain the events since a cursor that the server sent a moment ago. Do all workers "
            "and machines have the same broker (SSEMUX_BROKER)? Do SSEMUX_HISTORY_SECONDS and SSEMUX_HISTORY_EVENTS "
            "keep any events?"
        )
        said = "resuming with %s gave ssemux.reset (%s)" % (seen.hello.id, resets[0])
        yield Check("resume", FAIL, said, (Advice(text),), measured)
    elif not is_heard:
        text = "A hop removes the request header Last-Event-ID: forward it. In nginx:"
        lines = ("proxy_set_header Last-Event-ID $http_last_event_id;",)
        said = "an invalid Last-Event-ID gave no ssemux.reset: the header does not arrive"
        yield Check("resume", FAIL, said, (Advice(text, lines),), measured)
    else:
        said = "Last-Event-ID arrives; resuming with %s brought the missed events: %d" % (seen.hello.id, missed)
        yield Check("resume", OK, said, (), measured)


def _check_second_stream(seen: Seen) -> Iterator[Check]:
    second = seen.second
    if second is None:
        return
    first = seen.main.seconds_to_first_byte or 0.0
    took = second.seconds_to_first_byte
    measured = {"status": second.status, "first_byte": round_seconds(took), "others": seen.others}
    beside = "%d other%s" % (seen.others, "" if seen.others == 1 else "s")
    # All these requests start at nearly the same time, so a limit may refuse any of them.
    all_others = (second, seen.flow, seen.quiet, seen.resumed, seen.strange)
    refused = next((call for call in all_others if call is not None and call.status in REFUSED), None)
    if refused or not second.is_stream or took is None:
        said = "a second stream, beside %s: %s" % (beside, describe_state(refused or second))
        yield Check("second stream", FAIL, said, advise_on(seen, LIMITED), measured)
    elif took > SOON + 3 * first:
        said = "a second stream waited %s for its first byte, beside %s" % (format_seconds(took), beside)
        yield Check("second stream", WARN, said, advise_on(seen, LIMITED), measured)
    else:
        said = "first byte after %s, beside %s" % (format_seconds(took), beside)
        yield Check("second stream", OK, said, (), measured)


_CHECKS: tuple[Callable[[Seen], Iterator[Check]], ...] = (
    _check_first_byte, _check_headers, check_flow, _check_compression, _check_cache, _check_protocol, _check_resume,
    _check_second_stream, check_silence,
)  # fmt: skip
