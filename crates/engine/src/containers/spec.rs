//! From a container’s settings to an OCI runtime specification with Docker’s defaults.
