"""Unit tests: one part at a time, without sockets and without sleeping."""
