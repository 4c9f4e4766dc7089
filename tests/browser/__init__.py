"""Tests with real browsers and other real clients, behind real proxies."""
