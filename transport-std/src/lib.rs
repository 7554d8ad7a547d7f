//! edgempi
