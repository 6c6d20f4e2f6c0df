"""How long servers are waited for."""

SECONDS = 300
"""For a server to start or to end: it matters where something fails, or the machine is very busy."""
