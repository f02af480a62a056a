"""Private servers on this machine: for the demo, replays, `ach dev` and the tests."""
