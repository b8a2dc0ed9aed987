//! Whatever the text, the answer is a value: no panic, no endless loop.

#![expect(clippy::tests_outside_test_module, reason = "the whole crate is tests")]

use dockerfile::{
    CHECKS, CheckOptions, Dockerfile, IgnoreRules, ParentMatches, Surroundings, check, expand_word,
    expand_words, parse,
};
use std::collections::BTreeMap;

const PIECES: [&str; 64] = [
    "<<E",
    "<<-\"E\"",
    "\nE\n",
    "--mount=type=",
    "cache,target=/a,",
    "# check=skip=",
    "FROM ",
    "RUN ",
    "COPY ",
    "ADD ",
    "ENV ",
    "ARG ",
    "LABEL ",
    "CMD ",
    "ONBUILD ",
    "HEALTHCHECK ",
    "SHELL ",
    "VOLUME ",
    "EXPOSE ",
    "WORKDIR ",
    "a",
    "b",
    "é",
    "☺",
    "\u{feff}",
    "\n",
    "\n",
    "\n",
    "\r\n",
    " ",
    " ",
    "\t",
    "\\",
    "\\\n",
    "`",
    "#",
    "# escape=`\n",
    "$",
    "${",
    "}",
    ":-",
    ":+",
    "?",
    "%",
    "##",
    "/",
    "//",
    "*",
    "**",
    "[",
    "]",
    "[\"",
    "\"]",
    "\"",
    "'",
    "=",
    "--",
    "--from=",
    "--x",
    "<<E",
    "!",
    "..",
    "^",
    "-",
];

/// A generator that gives the same texts every time.
struct Texts(u64);

impl Texts {
    fn number(&mut self, below: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % below
    }

    fn text(&mut self) -> String {
        let pieces = self.number(24);
        (0..pieces).map(|_| PIECES[self.number(PIECES.len())]).collect()
    }
}

fn checked(dockerfile: &Dockerfile) {
    let none = BTreeMap::new();
    let surroundings = Surroundings {
        predefined: &none,
        given: &none,
        environment: &|_| Some(Vec::new()),
        is_excluded: &|_| true,
        is_image_name: &|_| true,
    };
    let options = CheckOptions {
        experimental_all: true,
        ..CheckOptions::default()
    };
    for warning in check(dockerfile, &options, &surroundings) {
        assert!(
            CHECKS.iter().any(|check| check.name == warning.check),
            "{warning:?}"
        );
    }
}

#[test]
fn any_text_is_answered() {
    let mut texts = Texts(1);
    let mut parsed = 0;
    for _ in 0..60_000 {
        let text = texts.text();
        for whole in [text.clone(), format!("FROM a\n{text}")] {
            if let Ok(dockerfile) = parse("Dockerfile", &whole) {
                parsed += 1;
                checked(&dockerfile);
                for stage in &dockerfile.stages {
                    for instruction in &stage.instructions {
                        assert!(instruction.lines.first <= instruction.lines.last);
                        assert!(whole.contains(instruction.source.lines().next().unwrap_or_default()));
                    }
                }
            }
        }
        let lookup = |name: &str| (name == "a").then(|| "x/y*z é".to_owned());
        for escape in ['\\', '`'] {
            let one = expand_word(&text, escape, &lookup);
            let many = expand_words(&text, escape, &lookup);
            assert_eq!(one.is_ok(), many.is_ok(), "{text:?}");
        }
    }
    assert!(parsed > 1000, "{parsed}");
}

/// The fast way, directory by directory, must say what the plain way says.
#[test]
fn ignore_rules_agree_with_themselves() {
    let mut texts = Texts(2);
    for _ in 0..20_000 {
        let Ok(rules) = IgnoreRules::parse(&texts.text()) else {
            continue;
        };
        let path = "a/b/a";
        let (first, top) = rules.judge_directory("a", &ParentMatches::default());
        let (second, below) = rules.judge_directory("a/b", &top);
        let third = rules.judge(path, &below);
        assert_eq!(third.excluded, rules.verdict(path).excluded);
        for (directory, verdict) in [("a", first), ("a/b", second)] {
            if verdict.excluded && !third.excluded {
                assert!(rules.may_include_below(directory), "{rules:?} {directory}");
            }
        }
    }
}
