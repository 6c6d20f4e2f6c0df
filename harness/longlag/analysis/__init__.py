"""What a study says: which axes matter, how gradient flow goes with scores, pictures."""
