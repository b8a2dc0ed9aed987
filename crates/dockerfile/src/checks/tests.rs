use super::*;
use crate::parse;

fn found(text: &str) -> Vec<String> {
    found_with(text, &CheckOptions::default())
}

fn found_with(text: &str, options: &CheckOptions) -> Vec<String> {
    let dockerfile = parse("Dockerfile", text).unwrap();
    let predefined = BTreeMap::from([("TARGETPLATFORM".to_owned(), "linux/amd64".to_owned())]);
    let surroundings = Surroundings {
        predefined: &predefined,
        given: &BTreeMap::new(),
        environment: &|image| (image == "a").then(|| vec!["PATH=/bin".to_owned(), "LANG=C".to_owned()]),
        is_excluded: &|path| path.contains(".log"),
        is_image_name: &|name| !name.starts_with(':') && !name.ends_with(':'),
    };
    check(&dockerfile, options, &surroundings)
        .into_iter()
        .map(|warning| format!("{}:{} {}", warning.lines.first, warning.check, warning.message))
        .collect()
}

#[test]
fn every_check_finds_its_own_and_nothing_else() {
    for (text, expected) in [
        (
            "FROM a AS Build",
            "1:StageNameCasing Stage name 'Build' should be lowercase",
        ),
        (
            "FROM a as b",
            "1:FromAsCasing 'as' and 'FROM' keywords' casing do not match",
        ),
        (
            "FROM a\nRUN a \\\n\n b",
            "2:NoEmptyContinuation Empty continuation line",
        ),
        (
            "FROM a\nRun x\nENV b=1",
            "2:ConsistentInstructionCasing Command 'Run' should match the case of the command majority (uppercase)",
        ),
        (
            "FROM a AS x\nFROM a AS x",
            "2:DuplicateStageName Duplicate stage name \"x\", stage names should be unique",
        ),
        (
            "FROM a AS scratch",
            "1:ReservedStageName Stage name should not use the same name as reserved stage \"scratch\"",
        ),
        (
            "FROM a\nCMD x",
            "2:JSONArgsRecommended JSON arguments recommended for CMD to prevent unintended behavior related to OS signals",
        ),
        (
            "FROM a\nMAINTAINER me",
            "2:MaintainerDeprecated Maintainer instruction is deprecated in favor of using label",
        ),
        (
            "ARG version=1\nFROM a:${verison}",
            "2:UndefinedArgInFrom FROM argument 'verison' is not declared (did you mean version?)",
        ),
        (
            "FROM a\nWORKDIR app",
            "2:WorkdirRelativePath Relative workdir \"app\" can have unexpected results if the base image changes",
        ),
        (
            "FROM a\nENV name=1\nCOPY $nmae /",
            "3:UndefinedVar Usage of undefined variable '$nmae' (did you mean $name?)",
        ),
        (
            "FROM a\nCMD [\"a\"]\nCMD [\"b\"]",
            "2:MultipleInstructionsDisallowed Multiple CMD instructions should not be used in the same stage because only the last one will be used",
        ),
        (
            "FROM a\nENV b 1",
            "2:LegacyKeyValueFormat \"ENV key=value\" should be used instead of legacy \"ENV key value\" format",
        ),
        (
            "FROM --platform=$TARGETPLATFORM a",
            "1:RedundantTargetPlatform Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
        ),
        (
            "FROM a\nARG DB_PASSWORD",
            "2:SecretsUsedInArgOrEnv Do not use ARG or ENV instructions for sensitive data (ARG \"DB_PASSWORD\")",
        ),
        (
            "ARG TAG\nFROM a:$TAG",
            "2:InvalidDefaultArgInFrom Default value for ARG a:$TAG results in empty or invalid base image name",
        ),
        (
            "FROM --platform=linux/amd64 a",
            "1:FromPlatformFlagConstDisallowed FROM --platform flag should not use constant value \"linux/amd64\"",
        ),
        (
            "FROM a\nCOPY x.log /",
            "2:CopyIgnoredFile Attempting to Copy file \"x.log\" that is excluded by .dockerignore",
        ),
        (
            "FROM a\nEXPOSE 80/TcP",
            "2:ExposeProtoCasing Defined protocol '80/TcP' in EXPOSE instruction should be lowercase",
        ),
        (
            "FROM a\nEXPOSE 127.0.0.1:80:80",
            "2:ExposeInvalidFormat EXPOSE instruction should not define an IP address or host-port mapping, found '127.0.0.1:80:80'",
        ),
    ] {
        assert_eq!(found(text), [expected], "{text}");
    }
    let all = CheckOptions {
        experimental_all: true,
        ..CheckOptions::default()
    };
    assert_eq!(
        found_with("# bla bla\nFROM a AS b", &all),
        ["2:InvalidDefinitionDescription Comment for FROM should follow the format: `# b <description>`"]
    );
    assert!(found_with("# b does things\nFROM a AS b", &all).is_empty());
}

#[test]
fn what_is_well_written_passes() {
    for text in [
        "from a as b\nrun x",
        "FROM a AS b\nWORKDIR /x\nWORKDIR y\nFROM b\nWORKDIR z",
        "FROM a\nENV A=1\nENV B=$A$PATH$LANG\nCOPY ${C:-d} ${E:+f} /",
        "FROM unknown\nCOPY $ANYTHING /",
        "ARG V=1\nFROM a:$V\nARG V\nENV W=$V",
        "FROM a\nARG MONKEY\nENV PUBLIC_KEY=x",
        "FROM --platform=linux/amd64 a AS build-amd64",
        "FROM a\nHEALTHCHECK NONE\nCMD [\"x\"]\nFROM a\nCMD [\"x\"]",
    ] {
        assert_eq!(found(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn checks_can_be_left_out() {
    let text = "FROM a AS X\nCMD x";
    let skipping = |skip: &[&str]| CheckOptions {
        skip: skip.iter().map(|&name| name.to_owned()).collect(),
        ..CheckOptions::default()
    };
    assert_eq!(found_with(text, &skipping(&["StageNameCasing"])).len(), 1);
    assert_eq!(
        found_with(text, &skipping(&["StageNameCasing", "jsonargsrecommended"])).len(),
        0
    );
    let none = CheckOptions {
        skip_all: true,
        ..CheckOptions::default()
    };
    assert!(found_with(text, &none).is_empty());
    assert_eq!(
        rule_url("JSONArgsRecommended"),
        "https://docs.docker.com/go/dockerfile/rule/json-args-recommended/"
    );
    assert_eq!(
        rule_url("FromAsCasing"),
        "https://docs.docker.com/go/dockerfile/rule/from-as-casing/"
    );
}
