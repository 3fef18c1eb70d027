"""The Registry page: the lists, a version's page, the comparison, and the dialogs that change a version."""
