"""The stack in a Kubernetes cluster: what is generated for it."""
