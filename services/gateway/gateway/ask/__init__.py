"""The client's request: its body is read and decoded once."""
