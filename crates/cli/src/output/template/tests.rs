use super::*;
use serde_json::json;

fn run(template: &str, data: &Value) -> String {
    match Template::parse(template).and_then(|template| template.execute(data, Labels::None, None)) {
        Ok(text) => text,
        Err(TemplateError(message)) => format!("ERROR {message}"),
    }
}

#[test]
fn what_go_prints() {
    let data = json!({
        "Id": "abc", "State": {"Running": true, "Pid": 12, "Health": null},
        "Config": {"Cmd": ["bash", "-c"], "Entrypoint": null, "Env": ["A=1", "B=2"], "Labels": {"b": "2", "a": "1"}},
        "NetworkSettings": {"Networks": {"bridge": {"IPAddress": "172.17.0.2"}}, "Ports": {"80/tcp": [{"HostPort": "8080"}], "90/tcp": null}},
        "Size": 1.5, "Empty": ""
    });
    for (template, expected) in [
        ("{{.Id}}", "abc"),
        ("{{ .State.Running }} {{.State.Pid}} {{.Size}}", "true 12 1.5"),
        (
            "{{.Config.Cmd}} {{.Config.Entrypoint}} {{.State.Health}}",
            "[bash -c] [] <nil>",
        ),
        ("{{.Config.Labels}}", "map[a:1 b:2]"),
        ("{{.Config.Labels.a}}{{.Config.Labels.c}}", "1<no value>"),
        ("{{json .Config.Labels}}", r#"{"a":"1","b":"2"}"#),
        ("{{index .Config.Cmd 1}} {{index .Config.Labels \"a\"}}", "-c 1"),
        (
            "{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}",
            "8080",
        ),
        ("{{range .Config.Env}}{{.}};{{end}}", "A=1;B=2;"),
        (
            "{{range $i, $e := .Config.Env}}{{if $i}}, {{end}}{{$i}}:{{$e}}{{end}}",
            "0:A=1, 1:B=2",
        ),
        (
            "{{range $k, $v := .Config.Labels}}{{$k}}={{$v}} {{end}}",
            "a=1 b=2 ",
        ),
        ("{{range .Config.Entrypoint}}x{{else}}none{{end}}", "none"),
        (
            "{{range $n, $c := .NetworkSettings.Networks}}{{$n}}={{$c.IPAddress}}{{end}}",
            "bridge=172.17.0.2",
        ),
        (
            "{{range $p, $c := .NetworkSettings.Ports}}{{$p}}{{range $c}}->{{.HostPort}}{{end}} {{end}}",
            "80/tcp->8080 90/tcp ",
        ),
        ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
        ("{{if .Empty}}a{{else if .Id}}b{{else}}c{{end}}", "b"),
        ("{{with .Config}}{{.Cmd}}{{$.Id}}{{end}}", "[bash -c]abc"),
        ("{{with .Empty}}x{{else}}y{{end}}", "y"),
        ("{{$x := .Id}}{{$x}}{{$x = \"z\"}}{{$x}}", "abcz"),
        ("{{if and .State.Running (eq .State.Pid 12)}}yes{{end}}", "yes"),
        ("{{or .Empty \"default\"}} {{not .Empty}}", "default true"),
        (
            "{{eq .Id \"x\" \"abc\"}} {{ne .Id \"x\"}} {{lt 1 2}} {{ge 1 2}} {{gt 2 1}} {{le 2 2}}",
            "true true true false true true",
        ),
        ("{{len .Config.Env}} {{len .Id}}", "2 3"),
        (
            "{{.Id | upper}} {{upper .Id | lower | printf \"%s-%d\" \"x\" }}",
            "ABC x-%!d(string=abc)",
        ),
        (
            "{{printf \"%-6s|%05d|%q|%v\" .Id .State.Pid .Id .Config.Cmd}}",
            "abc   |00012|\"abc\"|[bash -c]",
        ),
        (
            "{{join .Config.Cmd \" \"}} {{title \"hello world\"}} {{truncate .Id 2}} [{{pad .Id 1 2}}]",
            "bash -c Hello World ab [ abc  ]",
        ),
        (
            "{{split \"a,b\" \",\"}} {{slice .Id 1}} {{slice .Id 0 2}}",
            "[a b] bc ab",
        ),
        ("{{println .Id}}{{print 1 2 \"x\"}}", "abc\n1 2x"),
        // Go's name of the field, and fields that JSON leaves out.
        ("{{.ID}}", "abc"),
        (
            "{{if .State.Healthcheck}}a{{else}}none{{end}} {{.Config.ExposedPorts}}",
            "none map[]",
        ),
        ("{{with .Empty}}x{{else with .Id}}{{.}}{{else}}y{{end}}", "abc"),
        (
            "{{range $i, $e := .Config.Env}}{{if eq $i 1}}{{continue}}{{end}}{{$e}}{{end}}",
            "A=1",
        ),
        (
            "{{range .Config.Env}}{{$x := split . \"=\"}}{{index $x 0}} {{end}}",
            "A B ",
        ),
        ("{{with $c := .Config}}{{len $c.Env}}{{end}}", "2"),
        (
            "{{if and (not .Empty) (or .State.Health .State.Running)}}yes{{end}}",
            "yes",
        ),
        (
            "{{if or (lt .State.Pid 10) (gt .State.Pid 11)}}far{{else}}near{{end}}",
            "far",
        ),
        ("{{join .Config.Cmd \",\" | printf \"%q\"}}", "\"bash,-c\""),
        (
            "{{(index .NetworkSettings.Networks \"bridge\").IPAddress | printf \"%-12s|\"}}",
            "172.17.0.2  |",
        ),
        ("{{json .State}}", r#"{"Health":null,"Pid":12,"Running":true}"#),
        (
            "{{title \"a\"}}{{upper \"b\"}}{{lower \"C\"}}{{pad \"d\" 0 1}}|",
            "ABcd |",
        ),
        ("{{len .Config.Labels}}{{len \"\"}}", "20"),
        ("x\n{{- 1 -}}\ny", "x1y"),
        ("{{1.5}} {{-3}} {{0x10}} {{true}}", "1.5 -3 16 true"),
        ("a {{- .Id -}}  b", "aabcb"),
        ("{{/* nothing */}}x{{- /* nor this */ -}} y", "xy"),
        (
            "{{range .Config.Env}}{{if eq . \"B=2\"}}{{break}}{{end}}{{.}}{{end}}",
            "A=1",
        ),
        ("{{\"a\\tb\"}}{{`raw\\t`}}", "a\tbraw\\t"),
        ("plain", "plain"),
        // Templates with names.
        (
            "{{define \"variable\"}}<{{.}}>{{end}}{{range .Config.Env}}{{template \"variable\" .}}{{end}}",
            "<A=1><B=2>",
        ),
        (
            "{{template \"later\" .Id}}{{define \"later\"}}[{{$}}]{{end}}",
            "[abc]",
        ),
        (
            "{{block \"one\" .State}}{{.Pid}}{{end}}-{{template \"one\" .State}}",
            "12-12",
        ),
        ("{{define \"x\"}}{{.}}{{end}}{{template \"x\"}}", "<no value>"),
        (
            "{{$x := 1}}{{define \"x\"}}{{$x := 2}}{{$x}}{{end}}{{template \"x\"}}{{$x}}",
            "21",
        ),
        (
            "{{define \"x\"}} {{end}}{{define \"x\"}}full{{end}}{{template \"x\"}}",
            "full",
        ),
        (
            "{{define \"down\"}}{{if gt (len .) 0}}{{slice . 0 1}}.{{template \"down\" (slice . 1)}}{{end}}{{end}}{{template \"down\" .Id}}",
            "a.b.c.",
        ),
    ] {
        assert_eq!(run(template, &data), expected, "{template}");
    }
}

#[test]
fn what_go_complains_about() {
    let data = json!({"Id": "abc", "Config": {"Cmd": ["a"]}});
    for (template, expected) in [
        (
            "{{.Foo}}",
            "template: :1:2: executing \"\" at <.Foo>: map has no entry for key \"Foo\"",
        ),
        (
            "{{.Config.Foo}}",
            "template: :1:9: executing \"\" at <.Config.Foo>: map has no entry for key \"Foo\"",
        ),
        (
            "{{.Config.Health.Status}}",
            "template: :1:9: executing \"\" at <.Config.Health.Status>: map has no entry for key \"Health\"",
        ),
        ("{{", "template: :1: unclosed action"),
        ("{{.Id", "template: :1: unclosed action"),
        ("{{}}", "template: :1: missing value for command"),
        ("{{if}}", "template: :1: missing value for if"),
        ("{{if .Id}}", "template: :1: unexpected EOF"),
        ("{{end}}", "template: :1: unexpected {{end}}"),
        ("{{foo .Id}}", "template: :1: function \"foo\" not defined"),
        ("{{$x}}", "template: :1: undefined variable \"$x\""),
        ("{{\"a}}", "template: :1: unterminated quoted string"),
        (
            "{{template \"x\"}}",
            "template: :1:11: executing \"\" at <{{template \"x\"}}>: template \"x\" not defined",
        ),
        (
            "{{define \"x\"}}{{.Foo}}{{end}}{{template \"x\" .}}",
            "template: :1:16: executing \"x\" at <.Foo>: map has no entry for key \"Foo\"",
        ),
        (
            "{{define \"x\"}}{{template \"x\"}}{{end}}{{template \"x\"}}",
            "template: :1:25: executing \"x\" at <{{template \"x\"}}>: exceeded maximum template depth (200)",
        ),
        (
            "{{define \"x\"}}a{{end}}{{define \"x\"}}b{{end}}",
            "template: :1: template: multiple definition of template \"x\"",
        ),
        ("{{define \"x\"}}a", "template: :1: unexpected EOF"),
        (
            "{{define \"x\"}}{{else}}{{end}}",
            "template: :1: unexpected {{else}} in define clause",
        ),
        (
            "{{if .Id}}{{define \"x\"}}{{end}}{{end}}",
            "template: :1: unexpected <define> in command",
        ),
        (
            "{{block \"x\"}}{{end}}",
            "template: :1: missing value for block clause",
        ),
        (
            "{{template .Id}}",
            "template: :1: unexpected \".Id\" in template clause",
        ),
        (
            "{{define \"x\"}}{{$y}}{{end}}{{$y := 1}}{{template \"x\"}}",
            "template: :1: undefined variable \"$y\"",
        ),
        (
            "{{index .Config.Cmd 5}}",
            "template: :1:2: executing \"\" at <index>: error calling index: index out of range: 5",
        ),
    ] {
        assert_eq!(run(template, &data), format!("ERROR {expected}"), "{template}");
    }
}
