"""The numbers in the contract: how long calls wait, how long leases and reports last, what is kept at least.

Engines read them as attributes of this module, so that tests can change them. Numbers of a single engine are in its own
modules.
"""

from __future__ import annotations

#: Seconds that a call waits for a busy store before it raises ``BrokerUnavailable``. A page that is loaded must not
#: hang for longer.
WAIT_SECONDS = 2.0

# -- history ----------------------------------------------------------------

#: Bytes of bodies after which a page of ``read_events`` ends.
PAGE_BYTES = 1024 * 1024

#: Bytes of a body from which on an engine looks up the sequence of the next event and does not read that event.
LARGE_BODY_BYTES = 4096

#: What engines keep for delivery to connected clients, whatever the limits of the history are: events of the last
#: seconds, and the newest events; but not more than so many bytes.
LIVE_SECONDS = 5.0
LIVE_EVENTS = 500
LIVE_BYTES = 16 * 1024 * 1024

#: The limits of the extension's own channels, whatever those of the application are: events of each channel, and the
#: minimum age in seconds. Their bytes do not count.
OWN_EVENTS = 10_000
OWN_SECONDS = 3600.0

# -- leases -----------------------------------------------------------------

#: Seconds after which a lease expires that its process did not renew. Processes renew every third of it.
LEASE_SECONDS = 60.0

# -- reports ----------------------------------------------------------------

#: Seconds between two reports of a worker.
REPORT_INTERVAL = 5.0

#: Seconds after which a report expires: as long as gunicorn, by default, lets a worker be blocked. Processes on the
#: same host notice earlier that a worker was killed.
REPORT_SECONDS = 30.0

#: Seconds after which a registered application whose process did not register it again no longer counts.
REGISTRATION_SECONDS = 60.0

# -- work -------------------------------------------------------------------

#: Seconds after which a lease of work expires that its process did not renew, and after which a process that announced
#: nothing no longer wants work to be done. Processes renew every ``WORK_INTERVAL``.
WORK_SECONDS = 4.0
WORK_INTERVAL = 1.0
