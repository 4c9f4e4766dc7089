"""Whether there is a stream at a URL at all, and if not, why. No requests; what it is like is in ``checks.py``."""

from __future__ import annotations

import socket
import ssl
from urllib.parse import urlsplit

from .advice import SERVERS, hop_of
from .call import Call
from .examination import Seen
from .flow import is_lump, lump_words
from .report import FAIL, Advice, Check
from .words import buffered, seconds, told


def why_no_stream(seen: Seen) -> Check | None:
    """None: there is one."""
    return _no_answer(seen) or _no_headers(seen) or _no_stream(seen)


def _no_answer(seen: Seen) -> Check | None:
    main = seen.main
    if main.status or (main.asked_at and not main.is_over):
        return None
    parts = urlsplit(seen.url)
    place = "%s:%d" % (parts.hostname, parts.port or (443 if parts.scheme == "https" else 80))
    said, fix = _words(main, place)
    if seen.redirects:
        said += ", after a redirect to %s" % seen.url
    return Check("answer", FAIL, said, (Advice(fix),), {"error": type(main.error).__name__})


def _words(main: Call, place: str) -> tuple[str, str]:
    """What went wrong with a connection, and what to do."""
    error = main.error
    if isinstance(error, socket.gaierror):
        return "the name of %s is not known: %s" % (place, error), "Check the URL's spelling, and the DNS."
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            "the certificate of %s is not trusted: %s" % (place, error.verify_message),
            "Trust its issuer by --ca FILE, or look at the stream all the same by --insecure; browsers refuse it too.",
        )
    if isinstance(error, ssl.SSLError) and main.asked_at is None:
        why = getattr(error, "reason", None) or error
        return "no TLS with %s: %s" % (place, why), "Does it speak plain HTTP? Then write http://."
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens on %s" % place, "Start the server, or correct the URL's port."
    if error is None or isinstance(error, (socket.timeout, TimeoutError)):
        return "no connection to %s in time" % place, "Is it behind a firewall, or down? --timeout waits longer."
    if main.asked_at is None:
        return "no connection to %s: %s" % (place, error), "Check the URL and the network."
    return (
        "%s closed the connection without an answer (%s)" % (place, error or type(error).__name__),
        "Look into that server's log; a port that speaks TLS needs https:// in the URL.",
    )


def _no_headers(seen: Seen) -> Check | None:
    """Connected, and then nothing."""
    main = seen.main
    if main.status:
        return None
    waited = seen.asked.timeout
    measured = {"seconds": waited, "hop": hop_of(seen.headers)}
    if seen.is_probed and is_lump(seen):
        said = "%s buffers the stream: no headers, and %s" % (hop_of(seen.headers), lump_words(seen))
        return Check("answer", FAIL, said, buffered(seen), measured)
    if not seen.headers:
        text = (
            "The server accepts connections and answers nothing: its workers are all taken (a sync worker has one open "
            "stream) or hang. With gunicorn:"
        )
        fix = (Advice(text, ('worker_class = "gevent"',)),)
        return Check("answer", FAIL, "no answer of any kind in %g s" % waited, fix, measured)
    said = "no headers in %g s, though other requests are answered: " % waited
    if hop_of(seen.headers) in SERVERS:
        said += "nothing is sent before the first event"
        text = "Send something at once when a stream opens; flask_ssemux does. For an old view:"
        return Check("answer", FAIL, said, (Advice(text, ("@flask_ssemux.streaming",)),), measured)
    said += "%s buffers the stream" % hop_of(seen.headers)
    return Check("answer", FAIL, said, buffered(seen), measured)


#: What to do about an answer that is no stream.
STATUS = {
    400: "The server cannot understand the request: does the port speak https://? is the query right?",
    401: "Log in as the page does: --cookie 'session=…' or --header 'Authorization: …'.",
    403: "Ask as somebody who may: --cookie 'session=…'; or a rule is missing: @mux.authorize.",
    404: "Correct the URL's path: the application has its stream at SSEMUX_URL, behind what a proxy may put before it.",
    405: "This URL takes no GET: correct its path.",
    407: "A proxy in between wants a login.",
    429: "A limit of requests was met: exempt the stream in the hop that has it.",
    502: "The proxy cannot reach the application: is it running, on the port that the proxy thinks?",
    503: "The server is down or full; a browser never comes back after this answer.",
    504: "The application did not answer the proxy in time: are its workers all taken (a sync worker)?",
}


def _no_stream(seen: Seen) -> Check | None:
    main = seen.main
    measured = {"status": main.status, "content_type": main.headers.get("content-type"), "url": seen.url}
    if main.is_stream:
        return _sent_away(main) or _no_byte(seen)
    way = " after a redirect to %s" % seen.url if seen.redirects else ""
    if main.status == 200:
        kind = main.headers.get("content-type", "nothing")
        fix = "A browser closes such a stream for good: the answer must be text/event-stream."
        if "html" in kind:
            fix = (
                "A page came instead: a login form (--cookie), or what a proxy or a single-page application has for "
                "URLs that it does not know (correct the path, or the proxy's)."
            )
        return Check("answer", FAIL, "200%s, but %s, not text/event-stream" % (way, kind), (Advice(fix),), measured)
    if main.status == 204:
        return Check("answer", FAIL, "204%s: the stream tells its client to stop" % way, (), measured)
    if 300 <= main.status < 400:
        said = "%d to %s, after %d redirects" % (main.status, main.headers.get("location"), len(seen.redirects))
        return Check("answer", FAIL, said, (Advice("It goes in a circle: is a login missing (--cookie)?"),), measured)
    fix = STATUS.get(main.status, "Look into the server's log." if main.status >= 500 else "Correct the request.")
    return Check("answer", FAIL, "%d%s%s" % (main.status, way, told(main)), (Advice(fix),), measured)


def _sent_away(main: Call) -> Check | None:
    """A whole stream of one frame: come back later."""
    if main.is_over and len(main.frames) == 1 and main.frames[0].comment and not main.frames[0].data:
        said = "the server has no place for a stream: %s" % main.frames[0].comment
        fix = Advice("The server's log says more, and `flask ssemux doctor` without a URL.")
        return Check("answer", FAIL, said, (fix,), {"status": 200})
    return None


def _no_byte(seen: Seen) -> Check | None:
    main = seen.main
    if main.times:
        return None
    if main.is_over:
        fix = Advice("Look into the server's log.")
        return Check("answer", FAIL, "the stream ended without a byte", (fix,), {"status": 200})
    said = "headers after %s, and then no byte in %g s" % (seconds(main.seconds_to_headers), seen.asked.timeout)
    return Check("answer", FAIL, said, buffered(seen), {"status": 200, "hop": hop_of(seen.headers)})
