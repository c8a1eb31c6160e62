"""Settings that the native run and the containers share: .env, the public address, the model for a start."""
