//! See `fuzz::expansion`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::expansion(data));

#[cfg(not(fuzzing))]
fn main() -> std::process::ExitCode {
    fuzz::drive("expansion", fuzz::expansion)
}
