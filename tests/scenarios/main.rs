//! Every scenario over real processes, in one binary.
