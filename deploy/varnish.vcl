# Varnish in front of gunicorn: /etc/varnish/default.vcl. A server before it terminates TLS (hitch, HAProxy, a load
# balancer).
# Change these: 127.0.0.1:8000, and the URLs of streams: SSEMUX_URL and the URLs that your application passes to
# add_stream.

vcl 4.1;

import std;

backend gunicorn {
    .host = "127.0.0.1";
    .port = "8000";
}

# This backend only checks whether gunicorn is up. Any answer except 200 means that it is down; a wrong result only
# means that streams are not piped.
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

    # In a pipe, bytes pass as they arrive, and Varnish notices at once that a client has left. Without a pipe they pass
    # too, but a stream uses two threads, and Varnish notices that a client has left when it cannot write the third
    # heartbeat. A pipe may be silent for varnishd's "-p pipe_timeout", 60 s: three heartbeat intervals.
    if (req.url ~ "^/(events|api/jobs/stream)(\?|$)") {
        if (std.healthy(probed)) {
            return (pipe);
        }
        return (pass);
    }
}

sub vcl_pipe {
    # Otherwise the client's next requests on the same connection would bypass Varnish.
    set bereq.http.Connection = "close";
}

# A browser's EventSource never reconnects after a 503. While gunicorn is down, a stream's URL therefore answers with an
# empty stream that tells the client to reconnect in 2 to 5 s. Until the probe notices that gunicorn is down, a stream's
# connection is closed without an answer, and EventSource reconnects after that.
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
