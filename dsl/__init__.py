"""The `.ach` language: pure text-to-value and value-to-value steps, no file, clock, socket, log or loop."""
