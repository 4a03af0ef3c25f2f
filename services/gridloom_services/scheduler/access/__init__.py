"""Who may come in, who may do what, and who has changed what."""
