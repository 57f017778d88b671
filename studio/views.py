"""Projects, members, guidelines and the account."""
