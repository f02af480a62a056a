"""What happens now, for a terminal: read as the console reads it, and drawn as lines."""
