"""What several pages use: reading the store, dialogs, errors, links, text as it is written, the sign-in."""
