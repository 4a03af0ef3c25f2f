"""What a supervisor is made of. Standard library only: it starts fast and stays small."""
