"""Contracts of a rule set's events, for producers: JSON Schema, AsyncAPI, types of TypeScript and Python."""
