"""Wire formats without I/O: upstream's bytes in, the client's frames out."""
