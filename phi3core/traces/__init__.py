"""Turns of conversations, thumbs and votes: everything that is an MLflow trace, and the outbox it waits in.

Knows nothing of live conversations. Its face: `turn.Turn`, `turn_trace.send_turn`, `trace_search.search_traces`,
`feedback.read_reviews`, `outbox.put`.
"""
