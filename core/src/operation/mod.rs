//! What operations compute: the fold of many ranks' elements into one.
