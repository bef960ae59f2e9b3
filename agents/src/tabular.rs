//! Bellman methods in tables.
