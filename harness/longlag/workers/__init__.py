"""Run requests to results: one supervisor, one message protocol, and launchers that decide where workers run."""
