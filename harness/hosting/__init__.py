"""Starting worker processes, on this machine or by Dask. Knows nothing of what they do, and imports nothing heavy."""
