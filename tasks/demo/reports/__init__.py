"""What is written about it: reports and labels."""
