"""Who may do what: roles of people and the API keys that belong to them, read from the secrets file.

Knows nothing of how somebody signs in, of pages or of MLflow. Its face: `roles.Person`, `roles.require`,
`roles.local`, `roles.known`.
"""
