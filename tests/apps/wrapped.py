"""The lab application below a WSGI middleware that WRAPPER names: each one treats the bodies in its own way."""

from __future__ import annotations

import gzip
import os

from tests.apps import lab


class Passing:
    """Passes items on as they come, in an iterator of its own, as tracers do."""

    def __init__(self, body):
        self.body, self.items = body, iter(body)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.items)

    def close(self):
        if hasattr(self.body, "close"):
            self.body.close()


class Prefixing(Passing):
    """Puts a comment before each item."""

    def __next__(self):
        return b": prefix\n\n" + next(self.items)


class Holding(Passing):
    """Is always one item behind."""

    held = b": held\n\n"

    def __next__(self):
        item, self.held = self.held, next(self.items)
        return item


class Same(Passing):
    """Changes the bytes but not their number."""

    def __next__(self):
        return next(self.items).replace(b"ssemux", b"SSEMUX")


class Gzipping(Passing):
    """Makes a whole gzip member of each item."""

    def __next__(self):
        return gzip.compress(next(self.items))


WRAPPERS = {"passing": Passing, "prefixing": Prefixing, "holding": Holding, "same": Same, "gzipping": Gzipping}


def create_app():
    app = lab.create_app()
    inner, wrapper = app.wsgi_app, os.environ["WRAPPER"]

    def outer(environ, start_response):
        def start(status, headers, *more):
            if wrapper == "gzipping":
                headers = [*headers, ("Content-Encoding", "gzip")]
            return start_response(status, headers, *more)

        if environ["PATH_INFO"] != "/events":
            return inner(environ, start_response)
        return WRAPPERS[wrapper](inner(environ, start))

    app.wsgi_app = outer
    return app
