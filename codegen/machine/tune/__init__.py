"""Search tile tables on this machine's GPU; nothing here runs when a layer is called."""
