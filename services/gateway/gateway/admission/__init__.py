"""Who may go now, and what waits."""
