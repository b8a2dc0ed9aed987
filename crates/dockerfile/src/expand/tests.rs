use super::*;

fn variables(name: &str) -> Option<String> {
    Some(
        match name {
            "hello" => "world",
            "empty" => "",
            "HOME" => "/root",
            "path" => "/usr/local/lib/libx.so.1",
            "repeated" => "abcabcabc",
            "spaced" => "a b  c",
            "star" => "a*b*c",
            "lines" => "a\nb",
            "1" => "first",
            "@" => "all",
            "#" => "count",
            "umlaut" => "äöü",
            "quoted" => "'q' \"d\"",
            _ => return None,
        }
        .to_owned(),
    )
}

fn word(text: &str) -> Result<String, String> {
    expand_word(text, '\\', &variables).map_err(|error| error.problem.to_string())
}

#[test]
fn words_are_expanded() {
    for (text, expected) in [
        ("plain", "plain"),
        ("", ""),
        // Quotes and escapes.
        ("he'll'o", "hello"),
        ("'he\\l'", "he\\l"),
        ("'$hello'", "$hello"),
        ("he\"llo\"", "hello"),
        ("\"$hello\"", "world"),
        ("\"'$hello'\"", "'world'"),
        ("'\"$hello\"'", "\"$hello\""),
        ("\"a\\\"b\"", "a\"b"),
        ("\"a\\$hello\"", "a$hello"),
        ("\"a\\b\"", "a\\b"),
        ("\"a\\\\b\"", "a\\b"),
        ("a\\b", "ab"),
        ("a\\\\b", "a\\b"),
        ("\\$hello", "$hello"),
        ("\\${hello}", "${hello}"),
        ("a\\", "a"),
        ("\\'a\\'", "'a'"),
        ("$quoted", "'q' \"d\""),
        // Plain names.
        ("$hello", "world"),
        ("x$hello", "xworld"),
        ("$hello.txt", "world.txt"),
        ("$hello$hello", "worldworld"),
        ("$hello_", ""),
        ("$unset", ""),
        ("x${unset}y", "xy"),
        ("${hello}", "world"),
        ("a${hello}b", "aworldb"),
        ("$", "$"),
        ("a$", "a$"),
        ("$ a", "$ a"),
        ("$.", "$."),
        ("$1", "first"),
        ("$1a", "firsta"),
        ("${1}", "first"),
        ("$@", "all"),
        ("$#", "count"),
        ("${@}", "all"),
        ("$HOME/bin", "/root/bin"),
        // Defaults.
        ("${unset:-x}", "x"),
        ("${empty:-x}", "x"),
        ("${hello:-x}", "world"),
        ("${unset-x}", "x"),
        ("${empty-x}", ""),
        ("${hello-x}", "world"),
        ("${unset:-}", ""),
        ("${unset:-$hello}", "world"),
        ("${unset:-${hello}}", "world"),
        ("${unset:-${other:-deep}}", "deep"),
        ("${unset:-'a}b'}", "a}b"),
        ("${unset:-\"$hello x\"}", "world x"),
        ("${unset:-a\\}b}", "a}b"),
        ("${unset:-/}", "/"),
        // Alternatives.
        ("${hello:+x}", "x"),
        ("${empty:+x}", ""),
        ("${unset:+x}", ""),
        ("${hello+x}", "x"),
        ("${empty+x}", "x"),
        ("${unset+x}", ""),
        ("${hello:+$HOME}", "/root"),
        // Required.
        ("${hello:?no}", "world"),
        ("${hello?no}", "world"),
        ("${empty?no}", ""),
        // Prefixes and suffixes.
        ("${path#*/}", "usr/local/lib/libx.so.1"),
        ("${path##*/}", "libx.so.1"),
        ("${path%/*}", "/usr/local/lib"),
        ("${path%%/*}", ""),
        ("${path%.*}", "/usr/local/lib/libx.so"),
        ("${path%%.*}", "/usr/local/lib/libx"),
        ("${path#none}", "/usr/local/lib/libx.so.1"),
        ("${path%none}", "/usr/local/lib/libx.so.1"),
        ("${hello#w?r}", "ld"),
        ("${hello%?}", "worl"),
        ("${hello#$hello}", ""),
        ("${unset#x}", ""),
        ("${star#a\\*}", "b*c"),
        ("${star%\\*c}", "a*b"),
        ("${hello##}", "world"),
        ("${hello%%*}", ""),
        ("${umlaut#?}", "öü"),
        ("${lines#*b}", "a\nb"),
        // Replacements.
        ("${repeated/b/X}", "aXcabcabc"),
        ("${repeated//b/X}", "aXcaXcaXc"),
        ("${repeated/b*c/X}", "aX"),
        ("${repeated//b?/X}", "aXaXaX"),
        ("${repeated/z/X}", "abcabcabc"),
        ("${repeated//b/}", "acacac"),
        ("${path//\\//-}", "-usr-local-lib-libx.so.1"),
        ("${hello/o/$HOME}", "w/rootrld"),
        ("${unset/a/b}", ""),
        ("${star//\\*/-}", "a-b-c"),
        ("${repeated//bc/$1}", "afirstafirstafirst"),
        ("${hello/./x}", "world"),
        ("${hello//l*/}", "wor"),
    ] {
        assert_eq!(word(text), Ok(expected.to_owned()), "{text}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    for (text, expected) in [
        ("${", "syntax error: missing '}'"),
        ("${hello", "syntax error: missing '}'"),
        ("${hello:", "syntax error: missing '}'"),
        ("${hello:-x", "syntax error: missing '}'"),
        ("${hello#x", "syntax error: missing '}'"),
        ("${hello/x", "syntax error: missing '/' in ${}"),
        ("${hello/x/y", "syntax error: missing '}'"),
        ("${}", "syntax error: bad substitution"),
        ("${{hello}", "syntax error: bad substitution"),
        ("${:-x}", "syntax error: bad substitution"),
        ("${hello:#x}", "unsupported modifier (:#) in substitution"),
        ("${hello:%x}", "unsupported modifier (:%) in substitution"),
        ("${hello:x}", "unsupported modifier (:x) in substitution"),
        ("${hello^^}", "unsupported modifier (^) in substitution"),
        ("${hello[0]}", "unsupported modifier ([) in substitution"),
        ("${unset?}", "unset: is not allowed to be unset"),
        ("${unset:?}", "unset: is not allowed to be unset"),
        ("${empty:?}", "empty: is not allowed to be empty"),
        ("${unset:?give me one}", "unset: give me one"),
        ("${unset?$hello}", "unset: world"),
        (
            "'open",
            "unexpected end of statement while looking for matching single-quote",
        ),
        (
            "\"open",
            "unexpected end of statement while looking for matching double-quote",
        ),
        (
            "\"open\\",
            "unexpected end of statement while looking for matching double-quote",
        ),
        (
            "${hello#a\\b}",
            "invalid pattern (a\\b) in substitution: invalid escape '\\b'",
        ),
    ] {
        assert_eq!(word(text), Err(expected.to_owned()), "{text}");
    }
    let nested = "${a:-".repeat(100_000);
    assert_eq!(
        word(&nested),
        Err("syntax error: substitutions nested deeper than 64".to_owned())
    );
}

#[test]
fn a_backtick_escapes_where_the_dockerfile_says_so() {
    let expand = |text| expand_word(text, '`', &variables).unwrap();
    assert_eq!(expand("c:\\$hello"), "c:\\world");
    assert_eq!(expand("`$hello"), "$hello");
    assert_eq!(expand("\"`\"\""), "\"");
}

#[test]
fn words_are_split_where_spaces_were_not_quoted() {
    for (text, expected) in [
        ("a b", vec!["a", "b"]),
        ("$spaced", vec!["a", "b", "c"]),
        ("\"$spaced\"", vec!["a b  c"]),
        ("x$spaced", vec!["xa", "b", "c"]),
        ("'a b' c", vec!["a b", "c"]),
        ("a\\ b", vec!["a b"]),
        ("$unset", vec![]),
        ("80${unset}90", vec!["8090"]),
        ("${unset:-1 2}", vec!["1", "2"]),
    ] {
        assert_eq!(expand_words(text, '\\', &variables).unwrap(), expected, "{text}");
    }
}

#[test]
fn patterns_take_no_exponential_time() {
    let value = "a".repeat(2000);
    let lookup = |_: &str| Some(value.clone());
    let pattern = format!("${{x##{}b}}", "*a".repeat(50));
    assert_eq!(expand_word(&pattern, '\\', &lookup).unwrap().len(), 2000);
}
