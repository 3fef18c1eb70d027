"""Tables of a secrets file."""

LOGIN = """
[auth]
redirect_uri = "https://play.example/oauth2callback"
cookie_secret = "0123456789abcdef0123456789abcdef"
client_id = "phi3"
client_secret = "s"
server_metadata_url = "https://id.example/.well-known/openid-configuration"
"""
ROLES = """
[roles]
reviewer = ["rita@example.org", "group:team"]
releaser = ["group:ml-release", "  Ralph@Example.org "]
admin = ["ada@example.org"]
"""
