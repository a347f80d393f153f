"""Published networks, built unchanged from pure Python packages, with their layers converted."""
