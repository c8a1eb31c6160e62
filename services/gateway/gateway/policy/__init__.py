"""What may be asked: the models that a caller may know of, and what may leave the machine."""
