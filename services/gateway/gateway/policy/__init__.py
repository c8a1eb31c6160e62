"""Access rules: which models a caller may use, and what may leave the machine."""
