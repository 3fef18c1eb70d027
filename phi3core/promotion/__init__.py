"""The only writer of stages, aliases, and of people's tags and descriptions. Every page and command goes through here.

Knows nothing of pages, chats or builds. Its face: `promote.promote`, `promote.set_alias`, `adopt.adopt`,
`rollback.rollback`, `plan.plan_move`, `reconcile.reconcile`, `delete.delete_version`, `copy.copy_version`,
`edit.set_tag`. What a move
needs is in policy/, what was done is in record/.
"""
