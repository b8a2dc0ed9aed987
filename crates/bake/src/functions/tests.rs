use super::call;
use crate::definition::Surroundings;
use crate::evaluate::Frame;
use crate::value::Value;
use crate::world::World;

/// Evaluates an expression of functions and shows what comes out as JSON.
fn shown(expression: &str) -> String {
    let surroundings = Surroundings {
        now: 1_136_214_245,
        random: || [0xff; 16],
        ..Surroundings::default()
    };
    let parts = crate::blocks::Parts::default();
    let sheets = [crate::blocks::Sheet {
        name: "test.hcl".to_owned(),
        text: expression.to_owned(),
        has_places: true,
    }];
    let world = World::new(&parts, &sheets, &surroundings);
    let parsed = hcl_edit::parser::parse_expr(expression).unwrap();
    match world.value(&parsed, &Frame::new(0)) {
        Ok(value) => value.to_json().to_string(),
        Err(error) => format!("ERROR {error}"),
    }
}

#[test]
fn functions_do_what_their_names_say() {
    for (expression, expected) in [
        ("absolute(-3)", "3"),
        ("add(123, 1)", "124"),
        ("and(true, false)", "false"),
        ("base64encode(\"hello\")", "\"aGVsbG8=\""),
        ("base64decode(\"aGVsbG8=\")", "\"hello\""),
        ("basename(\"/a/b/c.txt\")", "\"c.txt\""),
        ("basename(\"\")", "\".\""),
        ("dirname(\"/a/b/c.txt\")", "\"/a/b\""),
        ("dirname(\"c\")", "\".\""),
        ("byteslen(\"é\")", "2"),
        ("bytesslice(\"hello\", 1, 2)", "\"el\""),
        ("ceil(1.2)", "2"),
        ("floor(-1.2)", "-2"),
        ("int(-1.9)", "-1"),
        ("chomp(\"a\\n\\n\")", "\"a\""),
        ("chunklist([1,2,3], 2)", "[[1,2],[3]]"),
        ("cidrhost(\"10.12.112.0/20\", 16)", "\"10.12.112.16\""),
        ("cidrhost(\"10.0.0.0/24\", -1)", "\"10.0.0.255\""),
        (
            "cidrhost(\"fd00:fd12:3456:7890:00a2::/72\", 34)",
            "\"fd00:fd12:3456:7890::22\"",
        ),
        ("cidrnetmask(\"172.16.0.0/12\")", "\"255.240.0.0\""),
        ("cidrsubnet(\"172.16.0.0/12\", 4, 2)", "\"172.18.0.0/16\""),
        (
            "cidrsubnets(\"10.1.0.0/16\", 4, 4, 8, 4)",
            "[\"10.1.0.0/20\",\"10.1.16.0/20\",\"10.1.32.0/24\",\"10.1.48.0/20\"]",
        ),
        ("coalesce(null, \"\", \"b\")", "\"\""),
        ("coalescelist([], [1])", "[1]"),
        ("compact([\"\", \"a\", null])", "[\"a\"]"),
        ("concat([1], [\"a\"])", "[1,\"a\"]"),
        ("contains([1, 2], 2)", "true"),
        ("convert(\"3\", number)", "3"),
        ("convert([3, 3], set(string))", "[\"3\"]"),
        ("csvdecode(\"a,b\\n1,2\")", "[{\"a\":\"1\",\"b\":\"2\"}]"),
        ("distinct([1, 2, 1])", "[1,2]"),
        ("divide(7, 2)", "3.5"),
        ("element([\"a\",\"b\"], 3)", "\"b\""),
        ("equal(1, 1)", "true"),
        ("flatten([[1], [2, [3]]])", "[1,2,3]"),
        (
            "format(\"%s-%05d %.2f %q %v%%\", \"a\", 42, 1.5, \"x\", [1])",
            "\"a-00042 1.50 \\\"x\\\" [1]%\"",
        ),
        (
            "format(\"%[2]s%[1]s %[3]x %e\", \"a\", \"b\", 255, 1234.5)",
            "\"ba ff 1.234500e+03\"",
        ),
        ("formatlist(\"%s!\", [\"a\", \"b\"])", "[\"a!\",\"b!\"]"),
        (
            "formatdate(\"DD MMM YYYY hh:mm ZZZ\", \"2018-01-02T23:12:01Z\")",
            "\"02 Jan 2018 23:12 UTC\"",
        ),
        (
            "formatdate(\"EEEE, D'th' HH:mm:ss aa Z\", \"2018-01-02T23:12:01+01:00\")",
            "\"Tuesday, 2th 11:12:01 pm +01:00\"",
        ),
        (
            "formattimestamp(\"X\", \"2006-01-02T15:04:05Z\")",
            "\"1136214245\"",
        ),
        ("formattimestamp(\"YYYYMMDD\", 1136214245)", "\"20060102\""),
        ("greaterthan(2, 1)", "true"),
        ("hasindex([1], 1)", "false"),
        ("indent(2, \"a\\nb\")", "\"a\\n  b\""),
        ("index([\"a\",\"b\"], 1)", "\"b\""),
        ("indexof([\"a\",\"b\"], \"b\")", "1"),
        ("join(\"-\", [\"a\"], [\"b\", 3])", "\"a-b-3\""),
        ("jsondecode(\"{\\\"a\\\":[1,null]}\")", "{\"a\":[1,null]}"),
        ("jsonencode({a = [1, true]})", "\"{\\\"a\\\":[1,true]}\""),
        ("keys({b = 1, a = 2})", "[\"a\",\"b\"]"),
        ("values({b = 1, a = 2})", "[2,1]"),
        ("length({a = 1})", "1"),
        ("log(16, 2)", "4"),
        ("lookup({a = 1}, \"b\", 2)", "2"),
        ("lower(\"ÄB\")", "\"äb\""),
        ("max(1, 3, 2)", "3"),
        ("min(1, 3, 2)", "1"),
        ("md5(\"hello\")", "\"5d41402abc4b2a76b9719d911017c592\""),
        ("merge({a = 1}, {a = 2, b = 3})", "{\"a\":2,\"b\":3}"),
        ("modulo(10, 3)", "1"),
        ("parseint(\"ff\", 16)", "255"),
        ("pow(2, 10)", "1024"),
        ("range(3)", "[0,1,2]"),
        ("range(1, 7, 3)", "[1,4]"),
        ("range(3, 1)", "[3,2]"),
        ("regex(\"([a-z]+)([0-9]+)\", \"ab12\")", "[\"ab\",\"12\"]"),
        ("regex(\"(?P<name>[a-z]+)\", \"ab12\")", "{\"name\":\"ab\"}"),
        ("regexall(\"[0-9]\", \"a1b2\")", "[\"1\",\"2\"]"),
        (
            "regex_replace(\"v1.2\", \"v([0-9]).([0-9])\", \"$2-$1\")",
            "\"2-1\"",
        ),
        ("replace(\"1.0.2\", \".\", \"-\")", "\"1-0-2\""),
        ("reverse(\"abc\")", "\"cba\""),
        ("reverselist([1, 2])", "[2,1]"),
        ("sanitize(\"a.b/c\")", "\"a_b_c\""),
        ("semvercmp(\"1.2.3\", \">= 1.2, < 2\")", "true"),
        ("semvercmp(\"v2.0.0\", \"^1.4\")", "false"),
        ("semvercmp(\"1.2.9\", \"~1.2.3\")", "true"),
        ("semvercmp(\"1.3.0\", \"1.2.x || 1.3\")", "true"),
        ("semvercmp(\"1.3.0-rc1\", \">1.2\")", "false"),
        ("sethaselement([1], 1)", "true"),
        ("setintersection([1, 2], [2])", "[2]"),
        ("setproduct([1, 2], [\"a\"])", "[[1,\"a\"],[2,\"a\"]]"),
        ("setsubtract([1, 2], [2])", "[1]"),
        ("setsymmetricdifference([1, 2], [2, 3])", "[1,3]"),
        ("setunion([2], [1, 2])", "[1,2]"),
        ("sha1(\"\")", "\"da39a3ee5e6b4b0d3255bfef95601890afd80709\""),
        ("substr(sha256(\"\"), 0, 8)", "\"e3b0c442\""),
        ("substr(sha512(\"\"), 0, 8)", "\"cf83e135\""),
        ("signum(-7)", "-1"),
        ("slice([1, 2, 3], 1, 3)", "[2,3]"),
        ("sort([\"b\", \"a\"])", "[\"a\",\"b\"]"),
        ("split(\",\", \"a,b\")", "[\"a\",\"b\"]"),
        ("strlen(\"é\")", "1"),
        ("substr(\"hello\", -3, 2)", "\"ll\""),
        (
            "timeadd(\"2006-01-02T15:04:05Z\", \"1h30m\")",
            "\"2006-01-02T16:34:05Z\"",
        ),
        ("timestamp()", "\"2006-01-02T15:04:05Z\""),
        ("title(\"a bc\")", "\"A Bc\""),
        ("trim(\"--a-\", \"-\")", "\"a\""),
        ("trimprefix(\"v1\", \"v\")", "\"1\""),
        ("trimsuffix(\"a.x\", \".x\")", "\"a\""),
        ("trimspace(\" a \")", "\"a\""),
        ("try(nosuch, 1)", "1"),
        ("can(nosuch)", "false"),
        ("unixtimestampparse(1136214245).month_name", "\"January\""),
        ("unixtimestampparse(1136214245).iso_week", "1"),
        ("upper(\"a\")", "\"A\""),
        ("urlencode(\"a b&c\")", "\"a+b%26c\""),
        ("uuidv4()", "\"ffffffff-ffff-4fff-bfff-ffffffffffff\""),
        (
            "uuidv5(\"dns\", \"www.terraform.io\")",
            "\"a5008fae-b28c-5ba5-96cd-82b4c53552d6\"",
        ),
        ("zipmap([\"a\"], [1])", "{\"a\":1}"),
    ] {
        assert_eq!(shown(expression), expected, "{expression}");
    }
}

#[test]
fn every_function_is_there() {
    let surroundings = Surroundings::default();
    for name in super::names().filter(|name| !["try", "can", "convert"].contains(name)) {
        assert!(call(name, &[], &surroundings).is_some(), "{name}");
    }
    assert!(call("nosuch", &[Value::Null], &surroundings).is_none());
}

#[test]
fn mistakes_name_the_function_and_the_argument() {
    for (expression, expected) in [
        ("upper()", "upper: argument 1 is missing"),
        ("upper([])", "argument 1 is a string, not a list"),
        ("upper(\"a\", \"b\")", "takes 1 argument, not 2"),
        ("divide(1, 0)", "division by zero"),
        ("1 / 0", "division by zero"),
        ("format(\"%d\", \"x\")", "%d wants a number"),
        ("format(\"%s\")", "wants argument 1"),
        ("format(\"\", 1)", "no place for argument 1"),
        ("formatdate(\"QQ\", \"2018-01-02T23:12:01Z\")", "no part \"QQ\""),
        ("regex(\"(\", \"\")", "no regular expression"),
        ("range(1, 2, 0)", "do not lead"),
        ("range(1000000)", "more than 100000"),
        ("jsondecode(\"{\")", "not JSON"),
        ("bcrypt(\"x\")", "is not there"),
        ("uper(\"a\")", "no function \"uper\""),
        ("cidrsubnet(\"10.0.0.0/8\", 30, 0)", "longer than an address"),
        ("semvercmp(\"x\", \"1\")", "no version"),
    ] {
        let text = shown(expression);
        assert!(
            text.starts_with("ERROR") && text.contains(expected),
            "{expression}: {text}"
        );
    }
}

#[test]
fn expressions() {
    for (expression, expected) in [
        ("1 + 2 * 3", "7"),
        ("\"5\" + 1", "6"),
        ("7 % 4 == 3 && !false", "true"),
        ("true ? \"a\" : nosuch", "\"a\""),
        ("[for x in [1, 2, 3]: x * 2 if x > 1]", "[4,6]"),
        ("{for k, v in {a = 1}: upper(k) => v}", "{\"A\":1}"),
        (
            "{for v in [\"aa\", \"ab\", \"b\"]: substr(v, 0, 1) => v...}",
            "{\"a\":[\"aa\",\"ab\"],\"b\":[\"b\"]}",
        ),
        ("[{a = 1}, {a = 2}].*.a", "[1,2]"),
        ("[{a = [1]}, {a = [2]}][*].a[0]", "[1,2]"),
        ("[{a = [1]}, {a = [2]}].*.a[0]", "[1]"),
        ("{a = {b = [10, 20]}}.a.b[1]", "20"),
        ("{\"a b\" = 1}[\"a b\"]", "1"),
        ("max([1, 5, 3]...)", "5"),
        ("\"x-${1 + 1}-$${y}\"", "\"x-2-${y}\""),
        ("\"${[1]}\"", "[1]"),
        ("\"%{ if true }yes%{ else }no%{ endif }\"", "\"yes\""),
        ("\"%{ for x in [1, 2] ~} ${x}%{ endfor }\"", "\"12\""),
        ("\"a ${~ \"b\" ~} c\"", "\"abc\""),
        ("-3", "-3"),
        ("null", "null"),
    ] {
        assert_eq!(shown(expression), expected, "{expression}");
    }
    for (expression, expected) in [
        ("nosuch", "no variable \"nosuch\""),
        ("[1][3]", "no element 3"),
        ("{a = 1}.b", "no attribute \"b\""),
        ("\"${null}x\"", "null cannot stand within a string"),
        ("[] + 1", "+ needs numbers, not a list"),
        ("target", "target is no variable"),
        ("[for x in 3: x]", "goes over a list"),
    ] {
        let text = shown(expression);
        assert!(
            text.starts_with("ERROR") && text.contains(expected),
            "{expression}: {text}"
        );
    }
}
