"""Models elsewhere: pulled from and pushed to registries, Hugging Face and plain addresses."""
