"""What is asked: a request's body, read and decoded once."""
