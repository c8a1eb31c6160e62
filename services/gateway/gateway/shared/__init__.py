"""What several gateways share, in Valkey: who has a slot, limits, answers, loads, breakers."""
