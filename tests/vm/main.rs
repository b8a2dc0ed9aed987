//! Black-box tests that need a stock host: cgroup version 2 under systemd. `make test-vm` runs them in a virtual
//! machine; elsewhere they fail.
#![cfg(test)]
