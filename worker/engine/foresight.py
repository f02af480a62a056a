"""What new rules make of a stored state: which rulings may be decided otherwise, and how they are. Pure.

The state is carried over (`dsl/carry.py`), and the events that this needs are folded by the part of the new plan that
is concerned. Rulings that are judged as before are left alone: of them nothing is read, and nothing is said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dsl.carry import Carried
from dsl.fold import reach, walk
from dsl.outcome import canonical_order
from dsl.partial_state import reader_of
from dsl.progress import State
from dsl.shortfall import shortfall
from worker.engine.folding import PartFold, anew_of
from worker.engine.glance import BEYOND, glance_of
from worker.engine.state_cache import BEGINNING
from worker.engine.whole_fold import earned_of

if TYPE_CHECKING:
    from dsl.carry import Carriage
    from dsl.compile import Plan
    from dsl.event import Event, Position
    from dsl.progress import Amount, Grant
    from worker.engine.whole_fold import Earned

_NONE: Final = frozenset[int]()
Ruled = frozenset[tuple[str, str]]
"""Achievements and tiers, "" for none."""


class Concerned:
    """The rulings that new rules may decide otherwise than the plan in force, by which all subjects are up to date.

    `part` is the plan of these and of what they name, with the slots of the new plan; None where none is concerned.
    """

    def __init__(self, carriage: Carriage) -> None:
        changed = frozenset(each.slot for each in carriage.changed)
        self.part = carriage.part(Carried(State(), changed, _NONE, _NONE, carriage.missing))
        self.slots = changed if self.part is None else changed | self.part.judged
        rulings = carriage.new.rulings
        self.keys = frozenset((rulings[slot].achievement, rulings[slot].tier or "") for slot in self.slots)
        self.types = frozenset[str]() if self.part is None else self.part.types
        """Event types that `part` hears."""
        self.reads_all = bool(carriage.types)
        """Whether something is new that only events can tell, of all subjects."""


class Carrier:
    """How states of one stamp are carried, as far as rulings are concerned.

    A state of an earlier plan than the one in force has no event of what was new in between: its row would have been
    written. So what only such events could tell is known to be nothing.
    """

    def __init__(self, concerned: Concerned, carriage: Carriage, part: Plan) -> None:
        self.concerned, self.part = concerned, part
        self.carriage = carriage if concerned.reads_all else carriage.without
        before = {entry.base: entry.aggregate.slot for entry in carriage.old.entries}
        nodes = [before[entry.base] for entry in part.entries if entry.base in before]
        known = ((ruling.slot, (ruling.achievement, ruling.tier or "")) for ruling in carriage.old.rulings)
        earned = [slot for slot, key in known if key in concerned.keys]
        counted = any(entry.once is not None for entry in part.dispatch.values())
        self.read = reader_of(nodes, earned, counted=counted)
        """Reads of a stored state what is needed; None where it is not of its shape."""
        self._asked = frozenset(entry.aggregate.slot for entry in part.entries)
        self.glance = glance_of(self.carriage, part)
        """Looks at the texts of states, and says at once of most that nothing is earned; None where it cannot."""
        self._ruled = [
            (
                ruling.slot,
                all(judge.version.repeat is None for judge in ruling.judges),
                [shortfall(judge.built.node) for judge in ruling.judges],
            )
            for ruling in carriage.new.rulings
            if ruling.slot in concerned.slots
        ]

    def of(self, state: State) -> Carried:
        """Return a state of the new plan, as far as it is concerned."""
        carried, slots = self.carriage.of(state), self.concerned.slots
        return Carried(
            carried.state,
            carried.doubtful & slots,
            carried.unearned & slots,
            carried.lost & slots,
            carried.absent & self._asked,
        )

    def short(self, carried: Carried) -> Amount:
        """Return how many events behind the mark it takes, at least, to earn something; 0 or less if any may do."""
        if self.part.moments:
            return 0
        state = carried.state
        open_ones = [shorts for slot, once, shorts in self._ruled if not (once and slot in state.earned)]
        return min((short(state) for shorts in open_ones for short in shorts), default=BEYOND)


def _yes() -> bool:
    return True


class CarriedFold:
    """One subject with a state: feed it its events of the part's types, in canonical order.

    Of a subject that does not need those up to its mark, the ones behind it suffice.
    """

    def __init__(self, carrier: Carrier, carried: Carried) -> None:
        self._carrier = carrier
        self._carried = carried
        part = None if self._carried.certain else carrier.carriage.part(self._carried)
        self._fold = None if part is None else PartFold(carrier.carriage, self._carried, part, certain=_yes)
        self.mark: Position = self._carried.state.mark or BEGINNING
        """Where the state stands."""
        self._behind: State | None = None
        self._anew: Ruled = frozenset()
        self._grants: list[Grant] = []

    @property
    def needs_all(self) -> bool:
        """Whether it needs the events up to the mark."""
        return self._fold is not None

    @property
    def untouched(self) -> bool:
        """Whether it was fed nothing, needs nothing, and passes no moment: it has earned nothing that it had not."""
        return self._fold is None and self._behind is None and not self._carrier.part.moments

    def feed(self, events: list[Event]) -> None:
        """Fold more events."""
        mark = self.mark.at, self.mark.id
        if self._fold is not None and self._behind is None:
            self._fold.feed(events)
        if canonical_order(events[-1]) > mark:
            behind = [event for event in events if canonical_order(event) > mark]
            self._grants += walk(self._carrier.part, self._merged(), behind)

    def _merged(self) -> State:
        """Return the state up to the mark, once all events up to there are folded."""
        if self._behind is None:
            carriage = self._carrier.carriage
            if self._fold is None:
                self._behind, anew = (
                    self._carried.state,
                    anew_of(carriage, self._carried.state.mark, self._carried.unearned),
                )
            else:
                self._behind, anew = self._fold.merged()
            self._anew = frozenset(anew.rulings)
            self._grants += anew.grants
        return self._behind

    def earned(self, clock: int) -> Earned:
        """Return what comes of it by a clock (microseconds), once all events are folded."""
        self._grants += reach(self._carrier.part, self._merged(), clock)
        return earned_of(self._grants, self._carrier.concerned.keys, self.mark, self._anew)
