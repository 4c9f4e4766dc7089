"""Chaos tests: clients come and go, workers and stores are killed, and a judge examines what each client received."""
