"""Papers: what was published beside what is measured here, with a verdict."""
