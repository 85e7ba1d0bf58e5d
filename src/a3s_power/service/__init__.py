"""What the edges may ask of a machine, and how this machine does it."""
