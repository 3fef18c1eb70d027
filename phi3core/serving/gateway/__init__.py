"""Every registered version behind the app's own port, and what stands before the pages.

Runs no model. Its face: `routes.Gateway`, `front.Front`.
"""
