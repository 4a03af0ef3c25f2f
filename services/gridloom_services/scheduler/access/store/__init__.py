"""Where keys, members and the audit log are kept."""
