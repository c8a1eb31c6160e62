"""The HTTP server around the APIs: routes, protocol, request log, process limits."""
