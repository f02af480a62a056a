"""Commands, one file each: what it prints, and its exit code."""
