"""The command `ach`, also as `python -m ach`: the one place where an installation finds it."""

from worker.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
