"""Messages become prompt text: what a template can do, the way it is rendered, what is left out when it is too long."""
