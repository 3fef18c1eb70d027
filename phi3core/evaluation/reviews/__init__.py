"""Reviews: people judge the answers of an evaluation, item by item, each on their own and without names.

Its face: `create.create`, `review.read_review`, `queue.find_next`, `votes.cast`, `votes.undo`, `sight.look`,
`discussion.comment`, `closing.close`. `item_state` says what follows from what was done to an item, `board` holds it
for a whole review in memory.
"""
