"""The stack in containers. Needs Docker and Python's standard library, nothing that has to be installed."""
