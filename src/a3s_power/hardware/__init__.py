"""What this machine has, read from the operating system each time it is asked."""
