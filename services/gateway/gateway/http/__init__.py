"""ASGI middleware around every request: path, request id, log record and CORS."""
