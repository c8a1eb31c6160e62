"""The real model: the embedded engine, the whole native stack, and client libraries that talk to it."""
