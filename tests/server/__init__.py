"""Tests against real servers, with a client that notes when each byte arrived."""
