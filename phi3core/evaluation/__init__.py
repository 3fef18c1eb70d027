"""Versions compared by people: who is asked what, who may see what of it, and what they say of it.

Nothing below imports it, and it knows nothing of pages. Its face: `comparison.begin`, `comparison.load`,
`hiding.look`, `ballot.cast`, `ballot.reveal`, `ballot.read`, `parting.find_parting`.
"""
