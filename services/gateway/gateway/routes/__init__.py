"""The HTTP surface: thin, one module a family of paths."""
