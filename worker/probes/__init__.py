"""What a worker shows of itself: probes over HTTP, and metrics."""
