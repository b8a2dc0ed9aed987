//! Processes: clone3, pidfds, namespaces, capabilities, limits, and what must be set before exec.
