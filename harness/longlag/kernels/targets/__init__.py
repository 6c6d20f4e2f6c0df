"""Targets: what turns a plan into a kernel."""
