//! What is fuzzed of the language of Dockerfiles: whatever the bytes, the answer is a value, and what can be had in two
//! ways is the same in both.
//!
//! With cargo-fuzz and a nightly compiler: `cargo +nightly fuzz run parser`. With any compiler:
//! `cargo run --release --bin parser -- SECONDS [SEEDS…]`, which changes the files of the directories that are named (and a few texts of
//! its own) at random, without looking at which parts of the program they reach.

use dockerfile::{IgnoreRules, ParentMatches, expand_document, expand_word, expand_words, parse};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Larger inputs are slower and find no more.
const LONGEST: usize = 16 << 10;
/// No input of that size may take longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads a Dockerfile.
pub fn parser(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(dockerfile) = parse("Dockerfile", text) else {
        return;
    };
    let lines = text.lines().count();
    for instruction in dockerfile.stages.iter().flat_map(|stage| &stage.instructions) {
        assert!(instruction.lines.first >= 1 && instruction.lines.first <= instruction.lines.last);
        assert!(instruction.lines.last <= lines.max(1), "{:?} of {lines}", instruction.lines);
    }
    // The same text gives the same.
    let again = parse("Dockerfile", text).map(|again| format!("{again:?}"));
    assert_eq!(again.ok(), Some(format!("{dockerfile:?}")));
}

/// Judges paths by an ignore file: the way down the directories and the plain way agree.
pub fn ignore(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (rules, paths) = text.split_once('\0').unwrap_or((text, "a/b/c\nsrc/main.c"));
    let Ok(rules) = IgnoreRules::parse(rules) else {
        return;
    };
    for path in paths.lines().take(16) {
        let parts: Vec<&str> = path
            .split('/')
            .filter(|part| !matches!(*part, "" | "." | ".."))
            .take(32)
            .collect();
        let mut parent = ParentMatches::default();
        let mut hidden = Vec::new();
        for end in 1..parts.len() {
            let directory = parts[..end].join("/");
            let (verdict, matches) = rules.judge_directory(&directory, &parent);
            if verdict.excluded {
                hidden.push(directory);
            }
            parent = matches;
        }
        let whole = parts.join("/");
        if whole.is_empty() {
            continue;
        }
        let verdict = rules.judge(&whole, &parent);
        assert_eq!(verdict.excluded, rules.verdict(&whole).excluded, "{whole:?}");
        // Who leaves a directory out must not lose what a later rule takes in again.
        for directory in hidden {
            assert!(
                verdict.excluded || rules.may_include_below(&directory),
                "{directory:?} {whole:?}"
            );
        }
    }
}

/// Expands variables.
pub fn expansion(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let variables = |name: &str| match name {
        "a" => Some("x/y*z é".to_owned()),
        "b" | "PATH" => Some(String::new()),
        _ => None,
    };
    for escape in ['\\', '`'] {
        let one = expand_word(text, escape, &variables);
        let many = expand_words(text, escape, &variables);
        assert_eq!(one.is_ok(), many.is_ok());
    }
    if let Ok(expanded) = expand_document(text, &variables)
        && !text.contains(['$', '\\'])
    {
        assert_eq!(expanded, text);
    }
}

/// Drives a target without a fuzzer: `SECONDS [DIRECTORY…]`. What makes it panic, or takes too long, is kept in a file.
pub fn drive(name: &str, target: fn(&[u8])) -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let seconds = words
        .next()
        .and_then(|word| word.to_str()?.parse().ok())
        .unwrap_or(10);
    let mut pool: Vec<Vec<u8>> = SEEDS.iter().map(|seed| seed.as_bytes().to_vec()).collect();
    for directory in words {
        seeds(Path::new(&directory), &mut pool);
    }
    println!("{name}: {} seeds, {seconds} s", pool.len());
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let mut random = Random(std::process::id().into());
    let mut runs = 0_u64;
    while Instant::now() < deadline {
        let data = random.changed(&pool);
        let began = Instant::now();
        let outcome = std::panic::catch_unwind(|| target(&data));
        let elapsed = began.elapsed();
        if outcome.is_err() || elapsed > PATIENCE {
            let kept = format!("{name}-{runs}.crash");
            let why = if outcome.is_err() { "a panic" } else { "too slow" };
            match std::fs::write(&kept, &data) {
                Ok(()) => println!("{why}: {kept}"),
                Err(error) => println!("{why}; {kept} cannot be written: {error}"),
            }
            return ExitCode::FAILURE;
        }
        runs += 1;
        // Texts that have become something else are seeds, too.
        if runs.is_multiple_of(64) && pool.len() < 4096 {
            pool.push(data);
        }
    }
    println!("{name}: {runs} runs, nothing found");
    ExitCode::SUCCESS
}

fn seeds(directory: &Path, pool: &mut Vec<Vec<u8>>) {
    let Ok(entries) = std::fs::read_dir(directory) else {
        println!("cannot read {}", directory.display());
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            seeds(&path, pool);
        } else if let Ok(content) = std::fs::read(&path)
            && content.len() <= LONGEST
        {
            pool.push(content);
        }
    }
}

const SEEDS: [&str; 4] = [
    "# syntax=docker/dockerfile:1\n# escape=`\nARG V=1\nFROM a:$V AS b\nRUN --mount=type=cache,target=/c x `\n y\nCOPY --from=b --chmod=u+x a b /c/\n",
    "FROM a\nRUN <<E cat <<\"F\"\n1\nE\n2\nF\nONBUILD ADD [\"x\", \"/y\"]\nHEALTHCHECK --interval=1m CMD z\n",
    "**/*.o\n!a/**/b\n#c\n\\!d\n[a-z]?/e\n\0a/b\nx.o\na/y/b\n",
    "${a:-${b:+c}}\"$a\"'$b'${a#x*}${a##*/}${a%z}${a/y/$b}${a//x/}\\$a$$",
];

const PIECES: [&str; 40] = [
    "\n", "\r\n", "\\\n", "`\n", " ", "\t", "$", "${", "}", ":-", ":+", ":?", "#", "##", "%", "%%", "/", "//", "*", "**", "?", "[",
    "]", "[\"", "\"]", "!", "^", "\"", "'", "<<E\n", "<<-\"E\"\n", "E\n", "FROM ", "RUN ", "COPY --from=", "--mount=type=",
    "ARG ", "\u{feff}", "é", "..",
];

/// A generator of numbers: what is found need not be hard to guess.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % limit.max(1)
    }

    /// Returns one of the pool, changed in a few places.
    fn changed(&mut self, pool: &[Vec<u8>]) -> Vec<u8> {
        let mut data = pool[self.below(pool.len())].clone();
        for _ in 0..=self.below(8) {
            let at = self.below(data.len() + 1);
            match self.below(6) {
                0 => {
                    let piece = PIECES[self.below(PIECES.len())].as_bytes();
                    data.splice(at..at, piece.iter().copied());
                }
                1 => {
                    let end = (at + self.below(16)).min(data.len());
                    data.drain(at..end);
                }
                2 => {
                    let end = (at + self.below(64)).min(data.len());
                    let copy = data[at..end].to_vec();
                    let to = self.below(data.len() + 1);
                    data.splice(to..to, copy);
                }
                3 => {
                    let other = &pool[self.below(pool.len())];
                    let from = self.below(other.len() + 1);
                    let end = (from + self.below(128)).min(other.len());
                    data.splice(at..at, other[from..end].iter().copied());
                }
                4 if at < data.len() => data[at] = u8::try_from(self.below(128)).unwrap_or_default(),
                _ if at < data.len() => data[at] ^= 1 << self.below(8),
                _ => {}
            }
        }
        data.truncate(LONGEST);
        data
    }
}
