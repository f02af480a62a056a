"""Webhooks and messages about unlocks: one durable consumer for each endpoint."""
