"""From weights to a registered version: sources/, convert, try out, log, register; each build a child process.

Knows nothing of stages, chats or pages. Its face: `steps.BuildSpec`, `steps.run`, `jobs.start`, `jobs.follow`,
`jobs.cancel`, `jobs.recent`.
"""
