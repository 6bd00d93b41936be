//! Quaxide: array programs, reinterpreted.
