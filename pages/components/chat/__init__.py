"""The Chat page: the model that is asked, the options, the box for messages, and the turns."""
