"""The streaming core: upstream's bytes in, the client's frames out."""
