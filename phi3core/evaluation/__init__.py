"""Versions judged: by people, who compare answers without names, and by scorers, over the items of a prompt set.

Nothing below imports it, and it knows nothing of pages. Its face: `comparison.begin`, `comparison.load`,
`hiding.look`, `ballot.cast`, `ballot.reveal`, `ballot.read`, `parting.find_parting`; `prompt_sets.save_set`,
`prompt_sets.read_set`, `drafts.begin`, `conversation_items.items_of`, `datasets.publish`; `evaluate.evaluate`,
`judging.judge_answers`, `results.read_evaluation`, `jobs.start`.
"""
