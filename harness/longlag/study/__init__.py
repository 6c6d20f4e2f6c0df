"""Studies: what is searched, where its trials are kept, and how they went."""
