"""What `make doctor` looks at, area by area. Every check yields findings and changes nothing."""
