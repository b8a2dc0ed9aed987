//! The Engine API: what holds for every operation.

use crate::empty;

#[test]
fn ping_tells_the_version() {
    let sandbox = empty();
    let api = sandbox.serve();
    let answer = api.get("/_ping");
    assert_eq!((answer.status, answer.text().as_str()), (200, "OK"));
    assert_eq!(answer.header("api-version"), Some("1.56"));
    let head = api.request("HEAD", "/v1.40/_ping", &[], b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("builder-version"), Some("2"));
}

#[test]
fn what_is_not_there_is_said() {
    let sandbox = empty();
    let api = sandbox.serve();
    assert_eq!(api.get("/nothing").is(404)["message"], "page not found");
    let new = api.get("/v1.99/_ping").is(400);
    let message = new["message"].as_str().unwrap_or_default();
    assert!(message.contains("too new"), "{message}");
    let old = api.get("/v1.12/_ping").is(400);
    let message = old["message"].as_str().unwrap_or_default();
    assert!(message.contains("too old"), "{message}");
}
