"""Durable jobs: a run is a folder, a row and a shim, and never lives in a server's memory."""
