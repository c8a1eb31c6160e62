"""Answers that outlive their connection: kept for a while, for whoever comes back to read on."""
