//! See `fuzz::parser`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::parser(data));

#[cfg(not(fuzzing))]
fn main() -> std::process::ExitCode {
    fuzz::drive("parser", fuzz::parser)
}
