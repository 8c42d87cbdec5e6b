"""The formats that datasets come in: each file reads one, and writes it where that can be done."""
