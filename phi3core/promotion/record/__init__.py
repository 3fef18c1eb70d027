"""The record of everything that was done to the registry: runs in the experiment ``phi3-promotions``, only appended.

Knows nothing of why something was done or whether it was allowed. Its face: `writer.opened`, `writer.append`,
`search.page`, `search.of_model`, `search.verify`, `history.read`, `timeline.spans`, `trust.Trust`; the data is in
`model`.
"""
