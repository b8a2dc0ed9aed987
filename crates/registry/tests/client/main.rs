//! The client as its callers see it: against the distribution project's registry, and against one that misbehaves.

#[cfg(test)]
mod access;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod distribution;
#[cfg(test)]
mod lanes;
#[cfg(test)]
mod manifests;
#[cfg(test)]
mod proxies;
#[cfg(test)]
mod push;
#[cfg(test)]
mod support;
#[cfg(test)]
mod transfer;
