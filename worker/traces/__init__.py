"""Spans of OpenTelemetry: which there are, and how they are exported."""
