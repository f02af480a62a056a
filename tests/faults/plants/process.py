"""Planted bugs: what a process reads and writes, and how the first one of a container ends."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

STREAMS: Final = "worker/process/test_streams.py"
WRITES: Final = f"{STREAMS}::test_all_is_written"

BUGS: Final = (
    Bug(
        "part_of_a_write_taken_for_all",
        "what is printed arrives whole, although a signal cuts a write short",
        at="_Whole.write",
        old="""
            while rest:
                try:
                    rest = rest[os.write(self._descriptor, rest) :]
            """,
        new="""
            while rest:
                try:
                    os.write(self._descriptor, rest)
                    return size
            """,
        tests=(WRITES,),
    ),
    Bug(
        "full_pipe_that_does_not_block_gives_up",
        "what is printed arrives whole, although another program has set the pipe not to block",
        at="_Whole.write",
        old="select.select([], [self._descriptor], [])",
        new="return size",
        tests=(WRITES,),
    ),
    Bug(
        "empty_pipe_taken_for_the_end",
        "an input that does not block ends where its writer ends it",
        at="_Whole.readinto",
        old="select.select([self._descriptor], [], [])",
        new="return 0",
        tests=(f"{STREAMS}::test_an_input_ends_where_it_ends", f"{STREAMS}::test_a_command_reads_and_writes_all"),
    ),
    Bug(
        "commands_print_to_streams_that_lose",
        "every command reads and writes by streams that lose nothing",
        at="cli:_Commands.make_context",
        old="lose_nothing()",
        new="pass",
        tests=(f"{STREAMS}::test_a_command_reads_and_writes_all",),
    ),
    Bug(
        "unbuffered_output_kept_in_memory",
        "with PYTHONUNBUFFERED nothing waits in memory for the end of the process",
        at="streams:_buffered",
        old="return raw if own.write_through else io.BufferedWriter(raw)",
        new="return io.BufferedWriter(raw)",
        tests=(f"{STREAMS}::test_nothing_waits_where_nothing_is_buffered",),
    ),
    Bug(
        "first_process_deaf_to_sigterm",
        "the first process of a container ends at SIGTERM, before it has a handler of its own too",
        at="end_on_sigterm",
        old="if os.getpid() == FIRST:",
        new="if os.getppid() == FIRST:",
        tests=(f"{STREAMS}::test_sigterm_ends_the_first_process_of_a_container",),
    ),
)
