"""Chaos: clients that come and go, workers and stores that are killed; a judge over what each client saw."""
