//! Signals by name and number, and as readable descriptors (signalfd(2)).
