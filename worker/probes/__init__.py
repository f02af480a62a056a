"""What others look at to see how a worker is."""
