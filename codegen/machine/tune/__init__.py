"""Search tile tables on the GPU at hand; nothing here runs when a layer is called."""
