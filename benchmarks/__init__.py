"""What this project measures: its speed against the book's own code, and what trained detectors reach."""
