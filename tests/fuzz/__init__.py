"""Files that are not what they should be, many and of every kind, for everything that reads one."""
