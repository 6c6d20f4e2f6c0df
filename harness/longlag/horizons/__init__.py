"""The horizon study: for every cell, the longest lag that it learns at a fixed budget, found by an adaptive search."""
