"""From weights to a registered version: sources/, convert, try out, log, register; each build a child process.

Knows nothing of stages, chats or pages. Its face: `spec.BuildSpec`, `steps.run_build`, `jobs.start`,
`jobs.start_measuring`, `jobs.follow`, `jobs.cancel`, `jobs.list_recent`.
"""
