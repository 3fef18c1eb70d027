"""The only writer of stages and aliases. Every page and command moves a version through here.

Knows nothing of pages, chats or builds. Its face: `promote.promote`, `promote.set_alias`, `adopt.adopt`,
`rollback.rollback`, `plan.plan_move`, `reconcile.reconcile`, `delete.delete_version`, `copy.copy_version`. What a move
needs is in policy/, what was done is in record/.
"""
