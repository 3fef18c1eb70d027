"""Model servers: one child process per open version, speaking OpenAI's protocol, and the app's own ``/v1``.

Draws nothing and keeps nothing. Its face: `pool.pool`, `pool.Pool`, `handle.ModelServer`. child/ is what runs in the
child process, gateway/ what the app's port passes on; `guard.Guard` stands before both.
"""
