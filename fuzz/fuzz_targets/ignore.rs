//! See `fuzz::ignore`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::ignore(data));

#[cfg(not(fuzzing))]
fn main() -> std::process::ExitCode {
    fuzz::drive("ignore", fuzz::ignore)
}
