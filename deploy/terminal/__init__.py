"""What people see on their terminal while a command runs."""
