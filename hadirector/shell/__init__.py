"""The hands: one outside thing per file. Bytes in, event out; action in, bytes out."""
