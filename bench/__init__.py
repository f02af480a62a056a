"""Benchmarks: programs that measure, and print or write down what they have measured.

`just bench` is `__main__`: who takes part is in `contestants` (their programs in `peers/`), what is measured of them in
`runs`, on the servers of `rig`. `events` makes a load and `expected` works out what must come of it; `publish` and
`drain` are the two ends of a measured run, `processes` asks the kernel. `results` is what is kept, `page` and `chart`
show it.

A further figure of every run is a field of `drain.Drained` and a column in `page`; a further kind of run is a function
in `runs`, a field of `results.Row`, and a line in `__main__.Bench.run`; a further contestant is an entry of
`contestants.CONTESTANTS`.

`just curves` is `curves`, by the same means: one worker, and a load or a database (`preload`) that grows from point to
point; `curve_page` shows it. A further curve is an entry of `curves.CURVES`.

`check_many` and `lsp` are programs of their own.
"""
