"""Training runs are killed, and go on: nothing is unreadable, lost, left over or different."""
