"""The operators, compiled.

An *aggregate* stores state: it has a slot and steps with events. A *condition* reads it: does it hold, its latest
start, its progress. Many conditions share one aggregate; the bound belongs to the condition (except under a window,
where the state depends on the bound).
"""
