"""What a process needs: an event loop, signals, logs."""
