"""The child process that holds one engine and one model, and the server's handle on it."""
