"""The HTTP routes: thin, one module for each family of paths."""
