"""The verification record: what runs here, and the proof that it streams."""
