"""What the demo runs elsewhere: programs of its command jobs, and the functions of its map."""
