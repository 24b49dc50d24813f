//! Repository tasks.
