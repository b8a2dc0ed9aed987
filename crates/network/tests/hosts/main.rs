//! Networks on hosts in miniature.
#![cfg(test)]

mod bed;
mod bridge;
mod names;
