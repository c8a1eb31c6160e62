"""Who may call what: keys, roles, and the models that a key may know of."""
