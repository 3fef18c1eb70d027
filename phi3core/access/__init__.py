"""People's roles, the login and the API keys, all read from the secrets file.

Knows nothing of how a person signs in, of pages or of MLflow. Its face: `roles.Person`, `roles.require`,
`roles.local_person`, `sign_in.person_with_claims`, `login.load_login`, `api_keys.person_with_key`,
`secrets_file.read_secrets`.
"""
