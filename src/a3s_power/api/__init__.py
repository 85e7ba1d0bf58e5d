"""HTTP: the dialects clients speak, each translated to the domain's requests and back from its events."""
