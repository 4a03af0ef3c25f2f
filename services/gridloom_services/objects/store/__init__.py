"""The door to where the bytes are."""
