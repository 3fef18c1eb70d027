"""What follows from all that reviewers did to one item: whose votes count, and whether there is room for another one.

Computed from the acts alone, so that every app server that has read the same ones says the same. Knows no store.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

from phi3core.traces.acts import Act

LEASE = 30 * 60 * 1000
"""Milliseconds for which an item is reserved for a reviewer, who does not vote on it: then it is given back."""

MARGIN = 2 * 60 * 1000
"""How much of that a vote needs, in milliseconds, so that it arrives in time; clocks may differ by as much."""


def same(one: str, other: str) -> bool:
    """Whether two names are the same person's."""
    return one.casefold() == other.casefold()


class ItemState:
    """An item's acts, and what follows from them. reviews: how many votes it needs."""

    def __init__(self, acts: Iterable[Act], reviews: int) -> None:
        self.acts = {act.id: act for act in acts}
        self.reviews = reviews

    def merged(self, acts: Iterable[Act]) -> ItemState:
        """With more acts; of an act that is known already the one that has arrived counts."""
        found = dict(self.acts)
        for act in acts:
            if act.id not in found or not found[act.id].arrived:
                found[act.id] = act
        return ItemState(found.values(), self.reviews)

    def knows(self, acts: Iterable[Act]) -> bool:
        """Whether all these acts are in it already, arrived as far as these are."""
        return all(act.id in self.acts and (self.acts[act.id].arrived or not act.arrived) for act in acts)

    @cached_property
    def _undone(self) -> set[tuple[str, bool, int]]:
        return {(act.reviewer.casefold(), act.check, act.number) for act in self.acts.values() if act.kind == "undo"}

    @cached_property
    def _standing(self) -> dict[tuple[str, bool], Act]:
        """Each reviewer's vote that was not taken back, on the item and on its repetition."""
        found: dict[tuple[str, bool], Act] = {}
        for act in sorted(self.acts.values(), key=lambda act: act.number):
            key = act.reviewer.casefold(), act.check
            if act.kind == "vote" and (*key, act.number) not in self._undone:
                found[key] = act
        return found

    @cached_property
    def claims(self) -> dict[int, Act]:
        """By place, its last claim: the number decides, and no clock."""
        found: dict[int, Act] = {}
        for act in self.acts.values():
            if act.kind == "claim" and (act.slot not in found or found[act.slot].number < act.number):
                found[act.slot] = act
        return found

    @cached_property
    def counted(self) -> list[Act]:
        """The votes that count: no more than are needed, those that came first."""
        votes = [act for (_, check), act in self._standing.items() if not check]
        # What has not arrived comes last; the id decides between two of the same millisecond.
        return sorted(votes, key=lambda act: (not act.arrived, act.arrived, act.id))[: self.reviews]

    @cached_property
    def checks(self) -> list[Act]:
        """The votes on its repetition."""
        return [act for (_, check), act in self._standing.items() if check]

    @cached_property
    def voters(self) -> frozenset[str]:
        """The names, in small letters, of all who have a vote on it, whether it counts or came too late."""
        return frozenset(name for name, check in self._standing if not check)

    @cached_property
    def unused_claims(self) -> list[Act]:
        """The last claims of places whose claimers have not voted; they may have been given back."""
        return [act for act in self.claims.values() if act.reviewer.casefold() not in self.voters]

    def vote_of(self, reviewer: str, check: bool = False) -> Act | None:
        """The reviewer's vote that stands, whether it counts or came too late."""
        return self._standing.get((reviewer.casefold(), check))

    def votes_of(self, reviewer: str, check: bool) -> list[Act]:
        """All votes that the reviewer ever cast on it, those taken back too, in their order."""
        own = [act for act in self.acts.values() if act.kind == "vote" and act.check == check]
        return sorted((act for act in own if same(act.reviewer, reviewer)), key=lambda act: act.number)

    def claim_of(self, reviewer: str, now: int) -> Act | None:
        """The reviewer's reservation, while it lasts. now: milliseconds since 1970."""
        if self.vote_of(reviewer) is not None:
            return None
        return next((act for act in self._live(now) if same(act.reviewer, reviewer)), None)

    def held(self, now: int) -> int:
        """For how many reviewers it is reserved, who have not voted yet."""
        return len(self._live(now))

    def free_claim(self, review: str, item: str, reviewer: str, now: int) -> Act | None:
        """The claim that would reserve it for one more reviewer; None where it has or awaits all that it needs."""
        if len(self.voters) + len(self._live(now)) >= self.reviews:
            return None
        # A place of whose votes is none, or was claimed and given back.
        for slot in range(self.reviews):
            last = self.claims.get(slot)
            if last is None or self._is_given_back(last, now):
                return Act("claim", review, item, reviewer, 0 if last is None else last.number + 1, slot, at=now)
        return None

    def renewed_claim(self, reviewer: str, now: int) -> Act | None:
        """The claim that keeps the reviewer's place for them, who has a vote there or a reservation; else None."""
        own = [act for act in self.claims.values() if same(act.reviewer, reviewer)]
        if not own:
            return None
        last = max(own, key=lambda act: act.at)
        return Act("claim", last.review, last.item, reviewer, last.number + 1, last.slot, at=now)

    def _live(self, now: int) -> list[Act]:
        return [act for act in self.unused_claims if now - act.at <= LEASE]

    def _is_given_back(self, claim: Act, now: int) -> bool:
        if self.vote_of(claim.reviewer) is None:
            return now - claim.at > LEASE
        # Two browsers of one person may have claimed two places at once: with their vote they need one.
        own = [slot for slot, last in self.claims.items() if same(last.reviewer, claim.reviewer)]
        return claim.slot != min(own)
