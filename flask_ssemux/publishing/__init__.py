"""The first step of an event: ``publish`` checks and encodes it, and appends it to the broker.

Events that wait for a commit are here too, and the messages that revoke a user's streams. No streams, no HTTP; nothing
here needs Flask or gevent.
"""
