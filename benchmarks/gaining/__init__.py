"""What each change to the serving path gains."""
