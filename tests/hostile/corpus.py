"""Attack strings, grouped by what they attack. This is only data; the tests say what must come of each."""

from __future__ import annotations

from urllib.parse import quote_from_bytes

#: Texts that have forged a line, a field, or a frame in some program, and texts that are merely strange.
TEXTS = [
    "\n", "\r", "\r\n", "\0", "a\nb", "a\rb", "a\r\nb", "a\0b",
    "x\n\ndata: forged\n\n", "x\r\rdata: forged\r\r",
    "x\r\n\r\nid: 9-9\r\n\r\n", "x\nevent: ssemux.reset\ndata: {}\n\n",
    "x\nretry: 1\n", "x\nid: forged", "\n: comment\n", "data: x", ": x", "id: x\n", "retry: 1",
    "\u2028", "\u2029", "a\u2028data: forged\u2029\u2029", "\x85", "\x0b",
    "\x0c", "\x1c\x1d\x1e", "\x7f", "\x1b[2J", "\x08\x08",
    "\ufeff", "\ufeffdata: x", "\ufffe", "\ufdd0", "\U0010ffff", "\U0001f4a9", "e\u0301", "\u202e\u202d", "\u200b",
    " ", "  lead", "trail  ", "\t", ":", "::", ":::x", " : ", "=", "&", "?", "#", "%", "+", ";", ",", "'", '"', "`",
    "<script>alert(1)</script>", "</script>", "<img src=x onerror=alert(1)>",
    "<id>", "<name>", "<int:id>", "(?P<x>.*)",
    "(a+)+$", ".*", "[^:]+", "\\", "\\n", "$", "^",
    "|", "{}", "{0.__class__}", "{self}", "%s", "%n%n%n", "%(x)s", "${jndi:ldap://x}",
    "'; DROP TABLE events; --", "\" OR 1=1 --", "*", "?*[a-z]", "../../etc/passwd",
    "/", "//", "\\\\host\\share", "~", ".", "..",
    "null", "true", "NaN", "-1", "0", "1e309",
    "9" * 200, "\uff11\uff12", "\u0661\u0662", "\u00b2", "None", "undefined",
    "user:7", "user:", "user:*", "USER:7", "User:7",
    "user:7:8", "user :7", " user:7", "user:7 ", "uſer:7", "user\uff1a7",
    "ssemux.", "ssemux.x", "SSEMUX.x", "ssemux", "ssemux:x",
    "room:", "room:a:b", ":room", "closed:1", "room:user:7",
    "x" * 254, "x" * 255, "x" * 256, "é" * 255, "x" * 3000,
]  # fmt: skip

#: What a publisher can pass and the wire format cannot express.
UNSAYABLE = ["\ud800", "a\udfffb", "\ud83d", "\udca9\ud83d"]

#: Parts of a percent-encoded query whose bytes are not UTF-8, or only look like something else.
RAW = [
    b"%", b"%%", b"%0", b"%zz", b"%u000a", b"%00", b"%0a", b"%0d%0a", b"%250a", b"%25250a",
    b"%ff", b"%fe%ff", b"%c0%8a", b"%e0%80%8a",
    b"%c0%80", b"%f8%88%80%80%80", b"%ed%a0%80", b"%ed%b0%80", b"%f4%90%80%80",
    b"%e2%80%a8", b"%c2%85", b"%ef%bb%bf", b"%80%80", b"%c3", b"%c3%28",
    b"+", b"%2B", b"%20", b"%3A", b"%75ser:7", b"%2A",
    b"user%3a7", b"room%3A1", b"room:%3Cname%3E", b"room:1%00",
    b"room:1%0a", b"room:1%0d", b"room:1%00.png", b"\xff\xfe", b"\xc3\xa9",
]  # fmt: skip

#: Cursors that are not ours, and some that nearly are.
CURSORS = [
    "0", "-1", "a-1", "abcdefgh", "abcdefgh-",
    "-5", "abcdefgh--1", "abcdefgh-01", "abcdefgh-1-1", "abcdefgh-+1", "abcdefgh- 1",
    "abcdefgh-1.0", "abcdefgh-1e3", "abcdefgh-0x10", "abcdefgh-１２",
    "abcdefgh-²", "abcdefgh-٣", "ABCDEFGH-1", "abcdefgh-999999999999999999",
    "abcdefgh-9999999999999999999", "abcdefgh-" + "9" * 60, "abcdefgh-" + "9" * 4000,
    "abcdefgh-1\u2028", "abcdefgh-1 ", " abcdefgh-1",
    "abcdefgh_1", "%s-%d", "{0}-{1}", "null", "NaN",
    "1" * 64, "1" * 65, "abcd-0", "abc-0", "abcdefghijklmnopq-0", "abcdefgh-18446744073709551616",
]  # fmt: skip


def quoted(text: str) -> bytes:
    """Percent-encode every byte that is not a letter or a digit; lone surrogates too, as UTF-8 would encode them."""
    return quote_from_bytes(text.encode("utf-8", "surrogatepass"), safe="").encode("ascii")


def get(target: bytes, *headers: bytes, method: bytes = b"GET", body: bytes = b"") -> bytes:
    """Make a request as bytes: nothing is quoted or checked."""
    lines = [method + b" " + target + b" HTTP/1.1", b"Host: x", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


#: Whole requests to a stream's URL that are strange in one way each: none may end in a server error.
REQUESTS = {
    "no query": get(b"/events?"),
    "only separators": get(b"/events?&&==&;;&=&channel"),
    "absolute target": get(b"http://evil.example/events"),
    "double slash": get(b"//events"),
    "dots": get(b"/x/../events"),
    "encoded path": get(b"/%65vents"),
    "path with NUL": get(b"/events%00"),
    "path with no UTF-8": get(b"/events%ff"),
    "variable with no UTF-8": get(b"/fixed/%ff%fe/stream"),
    "variable with a line break": get(b"/fixed/a%0ab/stream"),
    "variable with a colon": get(b"/fixed/a:b/stream"),
    "variable that is long": get(b"/fixed/" + b"x" * 2000 + b"/stream"),
    "variable with an encoded slash": get(b"/fixed/a%2fb/stream"),
    "query of 100 KB": get(b"/events?channel=" + b"x" * 100000),
    "3900 bytes of query": get(b"/events?channel=" + b"x" * 3900),
    "1900 parameters": get(b"/events?" + b"&" * 1900 + b"c=1"),
    "300 channels": get(b"/events?" + b"&".join(b"channel=%d" % n for n in range(300))),
    "600 new channels": get(b"/events?" + b"new=1&" * 600),
    "the same channel 200 times": get(b"/events?" + b"channel=room:1&" * 200),
    "all names of a cursor": get(b"/events?lastEventId=a&Last-Event-Id=b&last_event_id=c&evs_last_event_id=d"),
    "an array's name": get(b"/events?channel[]=room:1&channel[0]=closed:1"),
    "probe without a token": get(b"/events?ssemux_probe="),
    "probe with dots": get(b"/events?ssemux_probe=...."),
    "probe with no UTF-8": get(b"/events?ssemux_probe=%ff.%ff.%ff"),
    "probe of JSON": get(b"/events?ssemux_probe=WzEsMSwiYSJd.aaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaa"),
    "ticket of nobody": get(b"/events?ticket=x"),
    "ticket with no UTF-8": get(b"/events?ticket=%ff&ticket=%00&ticket=%0a"),
    "ticket of 3 KB": get(b"/events?ticket=" + b"a.b" * 1000),
    "status": get(b"/events/status"),
    "status as JSON": get(b"/events/status.json?channel=room:1"),
    "status for Prometheus": get(b"/events/metrics", b"Accept: \xff;q=nan", b"Authorization: Basic \xff:="),
    "status as a stream": get(b"/events/status/stream?channel=closed:1", b"Last-Event-ID: a-1"),
    "status with a slash": get(b"/events/status/"),
    "a file of the page": get(b"/events/status/..%2f..%2f__init__.py"),
    "HEAD": get(b"/events", b"Connection: close", method=b"HEAD"),
    "OPTIONS": get(b"/events", method=b"OPTIONS"),
    "POST": get(b"/events", b"Content-Length: 3", method=b"POST", body=b"a=b"),
    "unknown method": get(b"/events", method=b"BREW"),
    "TRACE": get(b"/events", method=b"TRACE"),
    "method override": get(b"/events", b"X-HTTP-Method-Override: DELETE"),
    "GET with a body": get(b"/events?channel=closed:1", b"Content-Length: 5", body=b"hello"),
    "two cursors in headers": get(b"/events", b"Last-Event-ID: a", b"Last-Event-ID: b"),
    "cursor of Latin-1": get(b"/events", b"Last-Event-ID: \xe9\xff\x80"),
    "cursor of 8000 bytes": get(b"/events", b"Last-Event-ID: " + b"9" * 8000),
    "user of Latin-1": get(b"/events", b"X-User: \xe9\xff"),
    "cookie that is no session": get(b"/events", b"Cookie: session=.eJx; session=\xff\xfe; =;;"),
    "Host with a line's end": b"GET /events HTTP/1.1\r\nHost: x%0d%0aX: y\r\n\r\n",
    "Host of letters that no host has": b"GET /events HTTP/1.1\r\nHost: <script>\r\n\r\n",
    "no Host": b"GET /events HTTP/1.1\r\n\r\n",
    "HTTP/1.0": b"GET /events HTTP/1.0\r\n\r\n",
    "Range": get(b"/events", b"Range: bytes=0-1,5-,-9"),
    "If-None-Match": get(b"/events/ssemux.js", b"If-None-Match: \"\xff\", W/*, ", b"Connection: close"),
    "If-Modified-Since": get(b"/events/ssemux.js", b"If-Modified-Since: 99999999999", b"Connection: close"),
    "Accept": get(b"/events", b"Accept: ;q=nan,*/*;q=-1", b"Accept-Encoding: \xff"),
    "Expect": get(b"/events", b"Expect: 100-continue"),
    "Upgrade": get(b"/events", b"Connection: Upgrade", b"Upgrade: websocket"),
    "Connection: close": get(b"/events", b"Connection: close"),
    "X-Forwarded of everything": get(b"/events", b"X-Forwarded-Proto: https", b"X-Forwarded-For: \xff, ::"),
    "100 headers": get(b"/events", *[b"X-A: b"] * 98),
}  # fmt: skip

#: Requests whose ends a proxy and a server may see differently. What follows each is a request for a forbidden channel.
_SECOND = b"GET /events?channel=closed:1 HTTP/1.1\r\nHost: x\r\n\r\n"
SMUGGLED = {
    "both lengths": get(
        b"/ping", b"Content-Length: 4", b"Transfer-Encoding: chunked", method=b"POST", body=b"0\r\n\r\n" + _SECOND
    ),
    "two lengths": get(b"/events", b"Content-Length: 0", b"Content-Length: 60", body=_SECOND),
    "signed length": get(b"/events", b"Content-Length: +0", body=_SECOND),
    "negative length": get(b"/events", b"Content-Length: -1", body=_SECOND),
    "Unicode length": get(b"/events", b"Content-Length: \xb2", body=_SECOND),
    "length with an underscore": get(b"/events", b"Content-Length: 1_0", body=_SECOND),
    "spaced name": get(b"/events", b"Content-Length : 5", body=_SECOND),
    "xchunked": get(b"/events", b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n" + _SECOND),
    "folded": get(b"/events", b"X: y", b" Transfer-Encoding: chunked", body=b"0\r\n\r\n" + _SECOND),
    "huge chunk": get(b"/events", b"Transfer-Encoding: chunked", body=b"ffffffffffffffffffffff\r\n" + _SECOND),
    "bare CR": b"GET /events HTTP/1.1\rHost: x\r\r" + _SECOND,
    "NUL in a header": get(b"/events", b"X: a\0b", body=_SECOND),
    "pipelined": get(b"/events", body=_SECOND),
    "pipelined after a refusal": get(b"/events?channel=closed:2", body=_SECOND),
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _SECOND,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64 + b"\r\n\r\n",
    "PROXY protocol": b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n" + _SECOND,
    "nothing but line breaks": b"\r\n\r\n\r\n\r\n",
    "nonsense": b"\xff\xfe\xfd\0\0\r\n\r\n",
}  # fmt: skip
