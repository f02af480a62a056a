"""What changes the books beside the stream: rollout, backfill, erasure, an operator's word."""
