"""Helpers that know nothing of events, streams or HTTP: forks, threads, background work, log throttle, redaction."""
