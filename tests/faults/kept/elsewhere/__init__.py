"""Answers are read at gateways that do not make them, and something goes wrong."""
