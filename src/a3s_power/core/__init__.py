"""Values of the domain: no I/O, no clock, nothing of a third party but msgspec."""
