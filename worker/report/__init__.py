"""What a person or a machine reads: the screen, diagnostics, results of tests."""
