"""Several gateways in one process, around a real Valkey."""
