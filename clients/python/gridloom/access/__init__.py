"""Who may come in: API keys, members of projects and their roles, and the audit log."""
