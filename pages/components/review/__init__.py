"""The parts of the page Review: the list, an item and the vote on it, and what the votes say so far."""
