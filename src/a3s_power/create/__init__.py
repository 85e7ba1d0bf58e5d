"""New models: from a file, or from another model with other layers on top."""
