"""From a cell to a plan: its equations traced, differentiated and laid out. Knows no target."""
