"""Tests of the brokers: one contract for all engines, and a file of quirks for each."""
