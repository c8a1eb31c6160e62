"""Admission: whether and when a request may start."""
