"""What the gateway tells of itself: log lines, metrics, and the record of a request that feeds both."""
