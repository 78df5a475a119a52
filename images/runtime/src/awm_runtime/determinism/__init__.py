"""The frozen clock and the seeded randomness that scenario code, its SQL and its seed see. Standard library only."""
