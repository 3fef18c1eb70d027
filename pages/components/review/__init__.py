"""The parts of the page Compare: what is asked of whom, the answers beside each other, and the votes on them."""
