"""Recordings of real wires, the protocol that predictions of them are scored by, and fitted parameters."""
