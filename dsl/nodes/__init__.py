"""The operators, compiled.

An *aggregate* remembers: it has a slot in the state and steps with events. A *condition* asks: does it hold, what is
its latest start, how far is it. Many conditions share one aggregate; the bound belongs to the condition (but where a
window makes what must be remembered depend on it).
"""
