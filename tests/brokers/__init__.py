"""Tests of the brokers: the contract's suites for all engines, and files for each engine alone."""
