"""Everything that depends on internals of uvicorn and gunicorn."""
