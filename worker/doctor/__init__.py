"""Whether servers are set up as the guarantees assume: facts are gathered first, and judged without I/O."""
