"""The formats that data sets come in: each file reads one, and writes it where that can be done."""
