"""The Conversations page: the list, files in and out, replays; and the menu that Chat has of a conversation too."""
