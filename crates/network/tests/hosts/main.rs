//! Networks on hosts in miniature.
#![cfg(test)]

mod bed;
mod bridge;
mod dual;
mod lan;
mod modes;
mod names;
mod watch;
