"""Benchmarks: programs that measure, and print or write down what they have measured."""
