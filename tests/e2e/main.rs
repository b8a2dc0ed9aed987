//! Black-box tests of the binary: what users type, and what they see. One file per command.
#![cfg(test)]

mod api;
mod api_abuse;
mod api_archive;
mod api_attach;
mod api_build;
mod api_containers;
mod api_create;
mod api_docker;
mod api_events;
mod api_exec;
mod api_images;
mod api_logs;
mod api_networks;
mod api_serve;
mod api_system;
mod api_volumes;
mod api_wait;
mod artifacts;
mod attach;
mod attacks;
mod bake;
mod build;
mod build_caches;
mod build_debug;
mod build_outputs;
mod commit;
mod completion;
mod cp;
mod devices;
mod died;
mod diff;
mod docker;
mod elsewhere;
mod errors;
mod events;
mod exec;
mod export;
mod faults;
mod health;
mod hello;
mod image;
mod inspect;
mod isolation;
mod keep;
mod leaks;
mod limits;
mod log_drivers;
mod login;
mod logs;
mod manifest;
mod mounts;
mod names;
mod namespaces;
mod network;
mod platforms;
mod ports;
mod postgres;
mod ps;
mod pull;
mod push;
mod registry;
mod rename;
mod restart;
mod run;
mod search;
mod security_options;
mod stats;
mod stop;
mod system;
mod terminal;
mod top;
mod tutorial;
mod update;
mod volume;
mod volume_versions;

use testkit::Sandbox;

/// A root with the image `busybox`.
fn sandbox() -> Sandbox {
    Sandbox::new(env!("CARGO_BIN_EXE_coracle"))
}

/// A root with the image `busybox`, for a test of what Docker does too. Such tests are in a module `both` of their
/// command's file.
fn both() -> Sandbox {
    Sandbox::comparable(env!("CARGO_BIN_EXE_coracle"))
}

/// Waits for the next second, and returns it as seconds since 1970: all that has happened was before.
fn next_second() -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    std::thread::sleep(std::time::Duration::from_nanos(
        1_000_000_000 - u64::from(now.subsec_nanos()),
    ));
    (now.as_secs() + 1).to_string()
}

/// A root with nothing in it.
fn empty() -> Sandbox {
    Sandbox::empty(env!("CARGO_BIN_EXE_coracle"))
}
