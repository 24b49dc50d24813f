"""The parts of demo.py: an installation to act on, and what is checked about it."""
