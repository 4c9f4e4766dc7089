# Varnish in front of gunicorn: /etc/varnish/default.vcl. TLS ends before it (hitch, HAProxy, a balancer).
# Yours to change: 127.0.0.1:8000, and the URLs of streams: SSEMUX_URL and those given to add_stream.

vcl 4.1;

import std;

backend gunicorn {
    .host = "127.0.0.1";
    .port = "8000";
}

# Only to know whether gunicorn is there; any answer but 200 means that it is not, and costs no more than the pipe.
backend probed {
    .host = "127.0.0.1";
    .port = "8000";
    .probe = {
        .request = "HEAD /events/ssemux.js HTTP/1.1" "Host: localhost" "Connection: close";
        .interval = 1s;
        .window = 1;
        .threshold = 1;
        .initial = 1;
    }
}

sub vcl_recv {
    set req.backend_hint = gunicorn;

    # Piped, bytes pass as they come, and a client that leaves is noticed at once. Unpiped they pass too, but a stream
    # holds two threads, and a client that leaves is noticed when the third heartbeat cannot be written. The longest
    # silence is varnishd's "-p pipe_timeout", 60 s: three heartbeats.
    if (req.url ~ "^/(events|api/jobs/stream)(\?|$)") {
        if (std.healthy(probed)) {
            return (pipe);
        }
        return (pass);
    }
}

sub vcl_pipe {
    # Else the client could send its next requests past Varnish over the same connection.
    set bereq.http.Connection = "close";
}

# A browser's EventSource never comes back after a 503. While gunicorn is away, a stream's URL answers with an empty
# stream that says when to come back, spread over 2 to 5 s. Until the probe notices, the connection of a stream is closed
# without an answer, after which EventSource comes back.
sub vcl_backend_error {
    if (bereq.url ~ "^/(events|api/jobs/stream)(\?|$)") {
        set beresp.status = 200;
        set beresp.http.Content-Type = "text/event-stream";
        set beresp.http.Cache-Control = "no-store";
        synthetic("retry: " + std.integer(real=std.random(2000, 5000)) + {"

"});
        return (deliver);
    }
}
