"""Figures of one server: its memory, what does not grow, and what a second worker brings."""
