"""The Python packages: what is locked, and .venv, into which it is installed."""
