"""What watches code at work: where its time goes and how much memory it takes."""
