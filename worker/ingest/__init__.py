"""Events over HTTP: checked as the worker would check them, published, and answered once the broker has them."""
