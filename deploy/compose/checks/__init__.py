"""What `make doctor` checks, area by area. Each check yields results and changes nothing."""
