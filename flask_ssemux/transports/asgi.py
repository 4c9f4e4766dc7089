"""A client behind an ASGI server whose WSGI adapter passes the server's messages on; one says that the client has left.

With an adapter that does not pass them on, a client is like any other. No bytes are read from the client or written to
it here.
"""

from __future__ import annotations

from typing import Any, Mapping

from .client_socket import ClientSocket, DepartureListener

#: Methods of requests without a body. Waiting for the last message would also take the messages of a body.
BODILESS_METHODS = ("GET", "HEAD")

#: After so many other messages, an adapter is not asked again.
MAX_MESSAGES = 1000


def passes_messages(environ: Mapping[str, Any]) -> bool:
    """Return whether the server's messages can be waited for, as with a2wsgi."""
    body = environ.get("wsgi.input")
    has_messages = "asgi.scope" in environ and hasattr(body, "receive") and hasattr(body, "loop")
    return has_messages and environ.get("REQUEST_METHOD") in BODILESS_METHODS


class ASGIClientSocket(ClientSocket):
    """The other end of a connection that an ASGI server has."""

    __slots__ = ("_receive", "_loop", "_listening", "_has_left")

    def __init__(self, environ: Mapping[str, Any]) -> None:
        super().__init__(environ)
        self._receive = environ["wsgi.input"].receive
        self._loop = environ["wsgi.input"].loop
        self._listening: Any = None
        self._has_left = False

    @property
    def can_notice_departure(self) -> bool:
        return True

    def watch_departure(self, listener: DepartureListener) -> None:
        import asyncio  # the adapter has loaded it already; elsewhere it would take 4 MB for nothing

        self._listening = asyncio.run_coroutine_threadsafe(self._await_disconnect(listener), self._loop)

    async def _await_disconnect(self, listener: DepartureListener) -> None:
        for _ in range(MAX_MESSAGES):
            if (await self._receive())["type"] == "http.disconnect":
                self._has_left = True
                listener.handle_departure()
                return

    def has_client_left(self) -> bool:
        return self._has_left

    def cut_connection(self) -> None:
        """Cut the connection, if the server keeps it beside its messages, as uvicorn does."""
        transport: Any = getattr(getattr(self._receive, "__self__", None), "transport", None)
        if hasattr(transport, "abort"):
            self._call_in_loop(transport.abort)

    def close(self) -> None:
        listening, self._listening = self._listening, None
        if listening is not None and not listening.done():
            self._call_in_loop(listening.cancel)
        super().close()

    def disown(self) -> None:
        self._listening = None
        super().disown()

    def _call_in_loop(self, function: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:
            pass  # the loop has ended, and all its connections with it
