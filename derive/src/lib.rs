//! Derive macros of Quaxide.
