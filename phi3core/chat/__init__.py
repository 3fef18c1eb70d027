"""Conversations: live ones, kept ones, replays, files to export and import, saved prompts.

Knows nothing of pages, and of a model no more than the protocol it answers in. Its face: `conversation.Conversation`,
`live_turn.LiveTurn`, `live_conversations.load_conversation`, `search.search_conversations`, `replay.start`,
`import_export.import_file`, `prompts.search_prompts`.
"""
